package libespeak

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"

	"github.com/voicemill/voicemill/worker/internal/engine/espeak/wire"
)

// Config says where the library is and what it may produce.
type Config struct {
	Library    string // file name or path; empty is the platform's usual name
	DataPath   string // folder that holds espeak-ng-data; empty is the library's own choice
	MaxSeconds int    // longest audio for one request; 0 is 900
}

const defaultMaxSeconds = 900

// WPM limits of the library without time stretching.
const (
	minWPM = 80
	maxWPM = 450
)

// Serve loads the library, says hello on out and answers requests from in until
// in ends or ctx is done, which is not an error. A text in progress cannot be
// interrupted, so the caller should exit the process as soon as [Input.Ended] is
// closed rather than wait for Serve. There must be one call at a time in a process.
func Serve(ctx context.Context, cfg Config, in *Input, out io.Writer) (err error) {
	if cfg.Library == "" {
		cfg.Library = libraryName()
	}
	if cfg.MaxSeconds == 0 {
		cfg.MaxSeconds = defaultMaxSeconds
	}
	// The library is not made for several threads; it sees only this one.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()

	lib := newLibrary(cfg.Library, cfg.DataPath)
	defer func() { err = errors.Join(err, lib.close()) }()
	if err := lib.open(); err != nil {
		return err
	}
	w := wire.NewWriter(out)
	if err := w.WriteJSON(wire.TypeHello, wire.Hello{Version: wire.Version, Rate: lib.rate, Library: lib.version()}); err != nil {
		return fmt.Errorf("write hello: %w", err)
	}
	for {
		if err := w.Flush(); err != nil {
			return fmt.Errorf("write answer: %w", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case r, ok := <-in.requests:
			if !ok {
				return in.Err()
			}
			if err := answer(lib, w, cfg, r); err != nil {
				return err
			}
		}
	}
}

// answer speaks r and leaves the library fresh for the next request. Its error
// means that the helper cannot go on.
func answer(lib *library, w *wire.Writer, cfg Config, r wire.Request) error {
	out := &frames{w: w, left: int64(cfg.MaxSeconds) * int64(lib.rate)}
	done := wire.Done{ID: r.ID, Code: wire.CodeOK}
	r.WPM = min(max(r.WPM, minWPM), maxWPM)
	err := lib.speak(r, out)
	switch {
	case out.err != nil:
		return fmt.Errorf("write audio: %w", out.err)
	case out.left < 0:
		done.Code, done.Detail = wire.CodeLimit, fmt.Sprintf("more than %d seconds of audio", cfg.MaxSeconds)
	case errors.Is(err, errVoice):
		done.Code, done.Detail = wire.CodeVoice, err.Error()
	case err != nil:
		done.Code, done.Detail = wire.CodeSynth, err.Error()
	}
	if err := w.Write(wire.TypeEvents, out.events); err != nil {
		return fmt.Errorf("write events: %w", err)
	}
	done.Samples = out.count
	if err := w.WriteJSON(wire.TypeDone, done); err != nil {
		return fmt.Errorf("write done: %w", err)
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("write answer: %w", err)
	}
	return lib.reopen()
}

// frames is the sink that turns what the library says into frames.
type frames struct {
	w      *wire.Writer
	left   int64 // samples that may still come; negative once there were too many
	count  int64
	bytes  []byte
	events []byte
	err    error
}

func (f *frames) samples(pcm []int16) bool {
	if f.left -= int64(len(pcm)); f.left < 0 {
		return false
	}
	f.bytes = slices.Grow(f.bytes[:0], 2*len(pcm))[:2*len(pcm)]
	for i, s := range pcm {
		binary.LittleEndian.PutUint16(f.bytes[2*i:], uint16(s)) //nolint:gosec // the same 16 bits
	}
	f.count += int64(len(pcm))
	f.err = f.w.Write(wire.TypeAudio, f.bytes)
	return f.err == nil
}

func (f *frames) event(e wire.Event) bool {
	if len(f.events) > wire.MaxFrame/2 {
		f.err = f.w.Write(wire.TypeEvents, f.events)
		f.events = f.events[:0]
	}
	f.events = wire.AppendEvent(f.events, e)
	return f.err == nil
}

// Input reads requests ahead of [Serve].
type Input struct {
	requests chan wire.Request // closed by Read when the input has ended
	ended    chan struct{}
	err      error // valid once ended is closed
}

// NewInput returns an Input; the caller runs [Input.Read].
func NewInput() *Input {
	return &Input{requests: make(chan wire.Request), ended: make(chan struct{})}
}

// Ended is closed when there is nothing more to read, even while a request is
// being answered.
func (in *Input) Ended() <-chan struct{} { return in.ended }

// Err returns why the input ended, nil if it simply did. It is valid once Ended
// is closed.
func (in *Input) Err() error { return in.err }

// Read passes requests from r to Serve until r ends, breaks the protocol or ctx
// is done. It is called once. The end of r between two requests is no error.
func (in *Input) Read(ctx context.Context, r io.Reader) {
	in.err = in.read(ctx, wire.NewReader(r))
	close(in.ended)
	close(in.requests)
}

func (in *Input) read(ctx context.Context, r *wire.Reader) error {
	for {
		t, body, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read request: %w", err)
		}
		if t != wire.TypeRequest {
			return fmt.Errorf("frame of type %c instead of a request: %w", t, wire.ErrProtocol)
		}
		var request wire.Request
		if err := wire.DecodeJSON(body, &request); err != nil {
			return fmt.Errorf("read request: %w", err)
		}
		select {
		case in.requests <- request:
		case <-ctx.Done():
			return nil
		}
	}
}

func libraryName() string {
	if runtime.GOOS == "darwin" {
		return "libespeak-ng.1.dylib"
	}
	return "libespeak-ng.so.1"
}
