package voices

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/voicemill/voicemill/gateway/internal/problem"
	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/lifecycle"
)

// Voice is one voice of an engine.
type Voice struct {
	Name       string
	Pool       string
	Language   string // BCP 47
	Engine     string
	SampleRate int  // hertz
	Default    bool // speaks its language when no voice is named

	Licence     string // empty if nothing is known
	Attribution string

	Instructions bool // it takes them

	GoneSince time.Time // no worker that has it was heard of since; zero: one was in the last half minute
}

// Source reads what workers can do.
type Source interface {
	// ListVoices returns every voice that is offered, by name.
	ListVoices(ctx context.Context) ([]Voice, error)
	// ListFormats returns the audio formats that some worker encodes.
	ListFormats(ctx context.Context) ([]string, error)
	// HasEar reports whether some worker hears what was spoken.
	HasEar(ctx context.Context) (bool, error)
}

// Directory is the copy. It is safe for concurrent use.
type Directory struct {
	src     Source
	log     *slog.Logger
	current atomic.Pointer[[]Voice]
	formats atomic.Pointer[[]string]
	ear     atomic.Bool
	known   chan struct{} // closed once there was a voice
	first   sync.Once     // closes known
}

const (
	refreshEvery = 10 * time.Second
	retryEvery   = 100 * time.Millisecond // while there is none: a worker that starts beside us is about to say
	staleAfter   = 2 * time.Second
)

// NewDirectory returns an empty directory. Run fills it.
func NewDirectory(src Source, log *slog.Logger) *Directory {
	return &Directory{src: src, log: log, known: make(chan struct{})}
}

// Run refreshes the directory until ctx is done. A source that is away leaves
// the copy as it is.
func (d *Directory) Run(ctx context.Context) error {
	for {
		pause := refreshEvery
		if err := d.Refresh(ctx); err != nil {
			d.log.DebugContext(ctx, "voices not refreshed", slog.String("error", err.Error()))
			pause = staleAfter
		} else if len(d.All()) == 0 {
			pause = retryEvery
		}
		if !lifecycle.Sleep(ctx, pause) {
			return nil
		}
	}
}

// Refresh reads the voices once.
func (d *Directory) Refresh(ctx context.Context) error {
	all, err := d.src.ListVoices(ctx)
	if err != nil {
		return fmt.Errorf("list voices: %w", err)
	}
	formats, err := d.src.ListFormats(ctx)
	if err != nil {
		return fmt.Errorf("list formats: %w", err)
	}
	ear, err := d.src.HasEar(ctx)
	if err != nil {
		return fmt.Errorf("ask for an ear: %w", err)
	}
	d.ear.Store(ear)
	d.formats.Store(&formats) // first: a worker says both at once
	d.current.Store(&all)
	if len(all) > 0 {
		d.first.Do(func() { close(d.known) })
	}
	return nil
}

// Known is closed once there was a voice.
func (d *Directory) Known() <-chan struct{} { return d.known }

// All returns every voice by name. The caller must not change it.
func (d *Directory) All() []Voice {
	if p := d.current.Load(); p != nil {
		return *p
	}
	return nil
}

// Faults returns what is wrong with the voices, the language, the formats and the
// verification of s, which must be known here. With no voice at all nothing can be said, and nothing is.
func (d *Directory) Faults(s *job.Spec) (faults job.Faults) {
	all := d.All()
	if len(all) == 0 {
		return faults
	}
	unknown := func(name string) bool { return name != "" && find(all, name) == nil }
	add := func(pointer, name string) {
		faults.Add(job.Fault{Pointer: pointer, Detail: fmt.Sprintf("voice %q is not known; known: %s", problem.Clip(name), names(all)), Kind: job.Invalid})
	}
	if unknown(s.Voice) {
		add("/voice", s.Voice)
	}
	for i := range s.Input.Segments {
		if name := s.Input.Segments[i].Voice; unknown(name) && !faults.Full() {
			add(fmt.Sprintf("/input/segments/%d/voice", i), name)
		}
	}
	if s.Language != "" && speaker(all, s.Language) == nil {
		faults.Add(job.Fault{Pointer: "/language", Detail: fmt.Sprintf("no voice speaks %q; spoken: %s", problem.Clip(s.Language), languages(all)), Kind: job.Invalid})
	}
	if s.Verify != "" && s.Verify != job.VerifyNone && !d.ear.Load() {
		faults.Add(job.Fault{
			Pointer: "/verify", Kind: job.Invalid,
			Detail: "no worker here has an ear to hear what was spoken: it takes an installed recogniser, or the address of one; voicemill doctor says how",
		})
	}
	instructionFaults(all, s, &faults)
	d.formatFaults(s, &faults)
	return faults
}

// instructionFaults refuses instructions for voices that take none, and those of which
// nobody can tell yet whom they are for: a document's language is known when it is read.
func instructionFaults(all []Voice, s *job.Spec, faults *job.Faults) {
	main := mainVoice(all, s)
	refuse := func(pointer, name string, v *Voice) {
		detail := "need a voice that is named, or the language"
		switch {
		case v == nil && name != "" || v != nil && v.Instructions || faults.Full():
			return // a name that is not known is a fault of its own
		case v != nil:
			detail = fmt.Sprintf("voice %q takes no instructions", v.Name)
		}
		faults.Add(job.Fault{Pointer: pointer, Kind: job.Invalid, Detail: detail + "; voices that take some: " + cmp.Or(names(instructed(all)), "none")})
	}
	if s.Instructions != "" && (s.Input.Segments == nil || main != nil) {
		refuse("/instructions", s.Voice, main)
	}
	for i := range s.Input.Segments {
		g := &s.Input.Segments[i]
		if s.Instructions == "" && g.Instructions == "" {
			continue
		}
		name, v := s.Voice, main
		if g.Voice != "" {
			name, v = g.Voice, find(all, g.Voice)
		}
		switch {
		case g.Instructions != "":
			refuse(fmt.Sprintf("/input/segments/%d/instructions", i), name, v)
		case v == nil || v != main: // the job's are for it, too
			refuse(fmt.Sprintf("/input/segments/%d/voice", i), name, v)
		}
	}
}

func instructed(all []Voice) (some []Voice) {
	for _, v := range all {
		if v.Instructions {
			some = append(some, v)
		}
	}
	return some
}

// formatFaults refuses formats that nobody here can make. Workers join WAV without help.
func (d *Directory) formatFaults(s *job.Spec, faults *job.Faults) {
	fault := func(pointer, name string) {
		if name != job.FormatWAV && slices.Contains(job.Formats(), name) && !slices.Contains(*d.formats.Load(), name) {
			faults.Add(job.Fault{
				Pointer: pointer, Kind: job.Invalid,
				Detail: fmt.Sprintf("no worker here can make %s: it takes an ffmpeg with the encoders for it; voicemill doctor names what is missing", name),
			})
		}
	}
	for i, name := range s.Output.Formats {
		fault(fmt.Sprintf("/output/formats/%d", i), name)
	}
	if s.Output.ReadAlong {
		fault("/output/read_along", s.Output.Implied())
	}
}

// Gone returns a voice that s asks for and no worker has now, as far as that can be
// told before the job is planned; nil if there is none.
func (d *Directory) Gone(s *job.Spec) *Voice {
	all := d.All()
	missing := func(v *Voice) bool { return v != nil && !v.GoneSince.IsZero() }
	if !slices.ContainsFunc(all, func(v Voice) bool { return missing(&v) }) {
		return nil
	}
	if main := mainVoice(all, s); missing(main) {
		return main
	}
	for i := range s.Input.Segments {
		if v := find(all, s.Input.Segments[i].Voice); missing(v) {
			return v
		}
	}
	return nil
}

// Default returns the voice that speaks language when none is named, or "".
func (d *Directory) Default(language string) string {
	if v := speaker(d.All(), language); v != nil {
		return v.Name
	}
	return ""
}

// mainVoice returns the voice of all that names no other, as far as that can be told
// before the language of the text is known; nil if it cannot.
func mainVoice(all []Voice, s *job.Spec) *Voice {
	if s.Voice == "" && s.Language != "" {
		return speaker(all, s.Language)
	}
	return find(all, s.Voice)
}

func find(all []Voice, name string) *Voice {
	for i := range all {
		if all[i].Name == name {
			return &all[i]
		}
	}
	return nil
}

// speaker returns the best voice for a language: the same tag before the same
// base language, a default before others.
func speaker(all []Voice, language string) *Voice {
	var best *Voice
	bestScore := 0
	for i := range all {
		v := &all[i]
		var score int
		switch {
		case strings.EqualFold(v.Language, language):
			score = 4
		case strings.EqualFold(base(v.Language), base(language)):
			score = 2
		default:
			continue
		}
		if v.Default {
			score++
		}
		if score > bestScore {
			best, bestScore = v, score
		}
	}
	return best
}

func base(tag string) string {
	b, _, _ := strings.Cut(tag, "-")
	return b
}

// maxNamed bounds how many names a fault lists.
const maxNamed = 12

func names(all []Voice) string {
	list := make([]string, 0, maxNamed)
	for _, v := range all {
		list = append(list, v.Name)
		if len(list) == maxNamed {
			break
		}
	}
	return join(list, len(all))
}

func languages(all []Voice) string {
	var list []string
	seen := map[string]bool{}
	for _, v := range all {
		if !seen[v.Language] {
			seen[v.Language] = true
			if len(list) < maxNamed {
				list = append(list, v.Language)
			}
		}
	}
	return join(list, len(seen))
}

func join(list []string, total int) string {
	s := strings.Join(list, ", ")
	if total > len(list) {
		s += fmt.Sprintf(" and %d more", total-len(list))
	}
	return s
}
