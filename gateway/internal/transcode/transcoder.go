package transcode

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os/exec"
	"runtime"
	"slices"
	"strconv"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/ffmpeg"
)

// Format is a kind of compressed audio, or PCM.
type Format string

// The formats. PCM is for a change of tempo only.
const (
	MP3  Format = "mp3"
	Opus Format = "opus" // in Ogg
	AAC  Format = "aac"  // in ADTS
	FLAC Format = "flac"
	PCM  Format = "pcm" // mono, 16-bit, little endian, at the rate of the input
)

// encoders are what makes the formats: the name of ffmpeg's encoder, and the
// rest of its arguments. The rates are those that speech needs in each.
//
//nolint:gochecknoglobals // a table
var encoders = map[Format]struct {
	encoder string
	args    []string
}{
	MP3:  {"libmp3lame", []string{"-b:a", "96k", "-write_xing", "0", "-id3v2_version", "0", "-f", "mp3"}},
	Opus: {"libopus", []string{"-b:a", "48k", "-page_duration", "100000", "-f", "ogg"}},
	AAC:  {"aac", []string{"-b:a", "96k", "-f", "adts"}},
	FLAC: {"flac", []string{"-f", "flac"}},
	PCM:  {"pcm_s16le", []string{"-f", "s16le"}},
}

// Config says where ffmpeg is. Start from [DefaultConfig].
type Config struct {
	Path string // of ffmpeg, or its name, which is looked for in PATH; empty: there is none
	Max  int    // processes at a time
}

// DefaultConfig looks for ffmpeg in PATH. One process of speech takes a few
// percent of a core, in bursts; the bound is for memory, 10 MiB each beside what
// they share.
func DefaultConfig() Config { return Config{Path: "ffmpeg", Max: 8 * runtime.GOMAXPROCS(0)} }

// Transcoder starts streams. It is safe for concurrent use. Start it with Run.
type Transcoder struct {
	cfg   Config
	log   *slog.Logger
	slots chan struct{} // one for each process that may run

	known   chan struct{} // closed when program and formats are set
	program *ffmpeg.Program
	formats []Format
}

// New returns a transcoder that knows no formats yet.
func New(cfg Config, log *slog.Logger) (*Transcoder, error) {
	if cfg.Max < 1 {
		return nil, fmt.Errorf("transcode: max is %d; it must be positive", cfg.Max)
	}
	return &Transcoder{cfg: cfg, log: log, slots: make(chan struct{}, cfg.Max), known: make(chan struct{})}, nil
}

// ErrFull is in the error of a start that was refused because too many processes run.
var ErrFull = errors.New("transcode: too many processes run")

// Run asks ffmpeg what it can make and waits until ctx is done.
func (t *Transcoder) Run(ctx context.Context) error {
	t.probe(ctx)
	close(t.known)
	<-ctx.Done()
	return nil
}

func (t *Transcoder) probe(ctx context.Context) {
	if t.cfg.Path == "" {
		return
	}
	program, err := ffmpeg.Find(ctx, t.cfg.Path)
	switch {
	case errors.Is(err, exec.ErrNotFound):
		t.log.LogAttrs(ctx, slog.LevelInfo, "no ffmpeg: speech is wav and pcm only", slog.Any("error", err))
		return
	case err != nil:
		if ctx.Err() == nil {
			t.log.LogAttrs(ctx, slog.LevelWarn, "ffmpeg cannot be used", slog.Any("error", err))
		}
		return
	}
	for f, e := range encoders {
		if program.Encodes(e.encoder) {
			t.formats = append(t.formats, f)
		}
	}
	slices.Sort(t.formats)
	t.program = program
	t.log.LogAttrs(ctx, slog.LevelInfo, "ffmpeg found", slog.String("path", program.Path), slog.Any("formats", t.formats))
}

// Formats returns what can be made here. It waits until that is known, a moment
// after the start at most.
func (t *Transcoder) Formats(ctx context.Context) ([]Format, error) {
	select {
	case <-t.known:
		return t.formats, nil
	case <-ctx.Done():
		return nil, &job.Error{Op: "transcode.Formats", Kind: job.Unavailable, Err: context.Cause(ctx)}
	}
}

// Max returns how many processes there may be.
func (t *Transcoder) Max() int { return t.cfg.Max }

// Running returns how many processes there are.
func (t *Transcoder) Running() int { return len(t.slots) }

// Input says what a stream is made of and what it becomes.
type Input struct {
	Format     Format
	SampleRate int     // of the samples that are written: mono, 16-bit, little endian
	Tempo      float64 // 0.5 to 2: how much faster, at the same pitch; 0 and 1 leave it
}

// Start starts a process. It refuses with Overloaded when there are as many as
// may be, and with Unavailable when the format cannot be made. ctx bounds the
// stream, which must be closed.
func (t *Transcoder) Start(ctx context.Context, in Input) (*ffmpeg.Stream, error) {
	formats, err := t.Formats(ctx)
	if err != nil {
		return nil, err
	}
	if !slices.Contains(formats, in.Format) {
		return nil, &job.Error{Op: "transcode.Start", Kind: job.Unavailable, Err: fmt.Errorf("ffmpeg cannot make %s", in.Format)}
	}
	select {
	case t.slots <- struct{}{}:
	default:
		return nil, &job.Error{Op: "transcode.Start", Kind: job.Overloaded, Public: "Too much audio is being compressed; try again later, or ask for wav or pcm.", Err: ErrFull}
	}
	s, err := t.program.Start(ctx, func() { <-t.slots }, in.arguments()...)
	if err != nil {
		<-t.slots
		return nil, &job.Error{Op: "transcode.Start", Kind: job.Internal, Err: err}
	}
	return s, nil
}

func (in Input) arguments() []string {
	e := encoders[in.Format]
	args := []string{
		"-hide_banner", "-loglevel", "error", "-nostdin", "-threads", "1",
		"-probesize", "32", "-analyzeduration", "0", "-f", "s16le", "-ac", "1", "-ar", strconv.Itoa(in.SampleRate), "-i", "pipe:0",
	}
	if in.Tempo != 0 && in.Tempo != 1 {
		args = append(args, "-filter:a", "atempo="+strconv.FormatFloat(in.Tempo, 'f', 4, 64))
	}
	args = append(args, "-map_metadata", "-1", "-fflags", "+bitexact", "-flush_packets", "1", "-c:a", e.encoder)
	return append(append(args, e.args...), "pipe:1")
}
