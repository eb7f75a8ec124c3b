package libespeak

import (
	"context"
	"errors"
	"io"
	"runtime"

	"github.com/voicemill/voicemill/worker/internal/engine/espeak/ask"
	"github.com/voicemill/voicemill/worker/internal/engine/helper/serve"
	"github.com/voicemill/voicemill/worker/internal/engine/helper/wire"
)

// Config says where the library is and what it may produce.
type Config struct {
	Library    string // file name or path; empty is the platform's usual name
	DataPath   string // folder that holds espeak-ng-data; empty is the library's own choice
	MaxSeconds int    // longest audio for one request; 0 is 900
}

const defaultMaxSeconds = 900

func (c Config) withDefaults() Config {
	if c.Library == "" {
		c.Library = libraryName()
	}
	if c.MaxSeconds == 0 {
		c.MaxSeconds = defaultMaxSeconds
	}
	return c
}

// WPM limits of the library without time stretching.
const (
	minWPM = 80
	maxWPM = 450
)

// Serve loads the library, says hello on out and answers requests from in until
// in ends or ctx is done, which is not an error. There must be one call at a time
// in a process; see [serve.Loop].
func Serve(ctx context.Context, cfg Config, in *serve.Input[ask.Request], out io.Writer) (err error) {
	// The library is not made for several threads; it sees only this one.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cfg = cfg.withDefaults()
	s := &speaker{library: newLibrary(cfg.Library, cfg.DataPath), cfg: cfg}
	defer func() { err = errors.Join(err, s.close()) }()
	return serve.Loop(ctx, s, in, out)
}

// speaker serves a library, fresh for each request.
type speaker struct {
	*library

	cfg Config
}

var _ serve.Library[ask.Request] = (*speaker)(nil)

// Hello implements serve.Library.
func (s *speaker) Hello() (wire.Hello, error) {
	if err := s.open(); err != nil {
		return wire.Hello{}, err
	}
	return wire.Hello{Rate: s.rate, Library: s.version()}, nil
}

// Speak implements serve.Library.
func (s *speaker) Speak(r ask.Request, out *serve.Sink) error {
	r.WPM = min(max(r.WPM, minWPM), maxWPM)
	err := s.speak(r, out)
	switch {
	case errors.Is(err, errVoice):
		return &serve.RefusedError{Code: wire.CodeVoice, Detail: err.Error()}
	case err != nil:
		return &serve.RefusedError{Code: wire.CodeSynth, Detail: err.Error()}
	}
	return nil
}

// Renew implements serve.Library.
func (s *speaker) Renew() error { return s.reopen() }

// MaxSamples implements serve.Library.
func (s *speaker) MaxSamples() int64 { return int64(s.cfg.MaxSeconds) * int64(s.rate) }

func libraryName() string {
	if runtime.GOOS == "darwin" {
		return "libespeak-ng.1.dylib"
	}
	return "libespeak-ng.so.1"
}
