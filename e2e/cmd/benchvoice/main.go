// Command benchvoice has one chapter spoken by the same weights on the same machine
// through one `voicemill up` and through others: the libraries kokoro-onnx and piper
// alone, as one stream with as many threads, and kokoro-tts, a program for books,
// with the whole machine. It prints what each took and the ratios. `scripts/setup
// bench` installs the others.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/voicemill/voicemill/e2e/internal/novel"
	"github.com/voicemill/voicemill/e2e/internal/proctree"
	"github.com/voicemill/voicemill/platform/weights"
)

func main() {
	var b bench
	flag.IntVar(&b.words, "words", 250, "length of the chapter")
	flag.IntVar(&b.rounds, "rounds", 1, "how often each speaks it, taking turns")
	flag.IntVar(&b.threads, "threads", 1, "of one stream")
	flag.StringVar(&b.bin, "bin", "bin", "folder with the built commands")
	flag.StringVar(&b.peers, "peers", ".cache/voice-peers-1", "folder with the others, see scripts/setup")
	flag.StringVar(&b.script, "script", "e2e/peers/voice/speak.py", "what has the libraries speak")
	flag.StringVar(&b.models, "models", os.Getenv("VOICEMILL_MODELS_DIR"), "folder of the models; default: where voicemill has them")
	only := flag.String("only", "", "models with this in their name")
	flag.Parse()
	if err := b.run(context.Background(), *only); err != nil {
		fmt.Fprintln(os.Stderr, "benchvoice:", err)
		os.Exit(1)
	}
}

// bench is what is compared, and with what.
type bench struct {
	words, rounds, threads     int
	bin, peers, script, models string

	dir, text string // of this run: a folder, and the chapter in it
}

// subject is a voice and those who can speak with it.
type subject struct {
	model, voice, library string
	command               bool // kokoro-tts can
}

var subjects = []subject{
	{model: "joe", voice: "joe", library: "piper"},
	{model: "kokoro", voice: "af_heart", library: "kokoro", command: true},
}

func (b *bench) run(ctx context.Context, only string) (err error) {
	if _, err := os.Stat(filepath.Join(b.peers, "ready")); err != nil {
		return fmt.Errorf("the other programs are not installed, run scripts/setup bench: %w", err)
	}
	if b.models == "" {
		b.models = weights.DefaultDir()
	}
	if b.dir, err = os.MkdirTemp("", "benchvoice-"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(b.dir)) }()
	book, words := novel.Book(b.words)
	_, chapter, _ := strings.Cut(book, "\n\n") // a title is not spoken by all of them
	b.text = filepath.Join(b.dir, "chapter.txt")
	if err := os.WriteFile(b.text, []byte(chapter), 0o600); err != nil {
		return err
	}
	fmt.Printf("a chapter of %d words, %d rounds, load average %s\n", words, b.rounds, proctree.Load())
	for _, s := range subjects {
		if strings.Contains(s.model, only) {
			if err := b.compare(ctx, s); err != nil {
				return fmt.Errorf("%s: %w", s.model, err)
			}
		}
	}
	fmt.Printf("load average at the end %s\n", proctree.Load())
	return nil
}

// compare has everybody speak with a voice and prints what it took.
func (b *bench) compare(ctx context.Context, s subject) error {
	var ours, library, whole, command taken
	contest := []struct {
		of    *taken
		speak func(context.Context, subject) (taken, error)
	}{
		{&ours, func(ctx context.Context, s subject) (taken, error) { return b.voicemill(ctx, s, 1) }},
		{&library, b.library},
		{&whole, func(ctx context.Context, s subject) (taken, error) { return b.voicemill(ctx, s, 0) }},
		{&command, b.command},
	}
	if !s.command {
		contest = contest[:2]
	}
	for range b.rounds {
		for _, c := range contest {
			t, err := c.speak(ctx, s)
			if err != nil {
				return err
			}
			c.of.add(t)
		}
	}
	fmt.Printf("\n%-44s %8s %8s %8s %9s %9s %8s\n", s.model+", voice "+s.voice, "audio s", "wall s", "CPU s", "audio/s", "audio/CPU", "peak MB")
	ours.print(fmt.Sprintf("voicemill, one stream, %d threads", b.threads))
	library.print(fmt.Sprintf("%s alone, %d threads", s.library, b.threads))
	if s.command {
		whole.print("voicemill, the whole machine")
		command.print("kokoro-tts, the whole machine")
	}
	fmt.Printf("goodput of one stream ÷ the library's: %.2f by the clock, %.2f by the processor (aim 0.97)\n",
		ours.pace()/library.pace(), ours.thrift()/library.thrift())
	if s.command {
		fmt.Printf("kokoro-tts's time ÷ voicemill's: %.2f by the clock, %.2f by the processor (at least 1.0, aim 1.2)\n",
			command.wall.Seconds()/whole.wall.Seconds(), command.cpu.Seconds()/whole.cpu.Seconds())
	}
	return nil
}

// taken is what it took to speak a chapter, or several times.
type taken struct {
	audio     float64 // seconds
	wall, cpu time.Duration
	peak      int64  // bytes, the most of all rounds
	note      string // about the memory
}

func (t *taken) add(o taken) {
	t.audio += o.audio
	t.wall += o.wall
	t.cpu += o.cpu
	t.peak, t.note = max(t.peak, o.peak), o.note
}

func (t *taken) pace() float64   { return t.audio / t.wall.Seconds() }
func (t *taken) thrift() float64 { return t.audio / t.cpu.Seconds() }

func (t *taken) print(who string) {
	fmt.Printf("  %-42s %8.1f %8.1f %8.1f %9.2f %9.2f %8.0f  %s\n", who, t.audio, t.wall.Seconds(), t.cpu.Seconds(), t.pace(), t.thrift(), float64(t.peak)/1e6, t.note)
}
