// Command benchspeech measures POST /v1/audio/speech against one `voicemill up`
// with espeak-ng: the time to the first byte of sound and to the last one, and what
// a line costs of the processor, for texts that were never spoken before, one after
// the other.
package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/voicemill/voicemill/e2e/internal/onebox"
	"github.com/voicemill/voicemill/e2e/internal/proctree"
)

func main() {
	n := flag.Int("n", 40, "texts in each format")
	bin := flag.String("bin", "bin", "folder with the built commands")
	formats := flag.String("formats", "wav,pcm,mp3,opus,aac,flac", "formats, in that order")
	line := flag.Bool("line", false, "one short sentence instead of four")
	flag.Parse()
	b := bench{n: *n, formats: strings.Split(*formats, ","), line: *line}
	if err := onebox.Run(context.Background(), *bin, func(box *onebox.Box) error {
		b.box = box
		return b.measure(context.Background())
	}); err != nil {
		fmt.Fprintln(os.Stderr, "benchspeech:", err)
		os.Exit(1)
	}
}

type bench struct {
	n       int
	formats []string
	line    bool
	box     *onebox.Box
}

// text has four sentences, which take some ten seconds to speak, or one.
func (b *bench) text(format string, n int) string {
	if b.line {
		return fmt.Sprintf("This is line %d as %s.", n, format)
	}
	return fmt.Sprintf("This is text %d as %s. Nobody has heard it before, so it has to be made. It is read from the first segment on.\n\nThis is its last sentence.", n, format)
}

// cost is processor time: of Postgres, and of the rest.
type cost struct{ rest, postgres time.Duration }

// spent returns what was spent since c.
func (b *bench) spent(c cost) cost {
	rest, postgres := proctree.Spent(b.box.PID)
	return cost{rest - c.rest, postgres - c.postgres}
}

// idleFor is how long it is watched what the processes cost when nobody asks.
const idleFor = 5 * time.Second

func (b *bench) measure(ctx context.Context) error {
	load := proctree.Load()
	begun := b.spent(cost{})
	time.Sleep(idleFor)
	idle := b.spent(begun)
	fmt.Printf("load average %s\n\n| format | first byte P50 | P95 | last byte P50 | P95 | CPU a text | of it Postgres |\n|---|---|---|---|---|---|---|\n", load)
	for _, format := range b.formats {
		if err := b.measureOne(ctx, format, idle); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) measureOne(ctx context.Context, format string, idle cost) error {
	var first, last []time.Duration
	before, began := b.spent(cost{}), time.Now()
	for i := range b.n {
		f, l, err := b.speak(ctx, format, b.text(format, i))
		if err != nil {
			return err
		}
		first, last = append(first, f), append(last, l)
	}
	parts := float64(time.Since(began)) / float64(idleFor)
	c := b.spent(before)
	each := func(all, idle time.Duration) string {
		return (time.Duration(float64(all)-parts*float64(idle)) / time.Duration(b.n)).Round(100 * time.Microsecond).String()
	}
	fmt.Printf("| %s | %s | %s | %s | %s | %s | %s |\n", format, at(first, 50), at(first, 95), at(last, 50), at(last, 95),
		each(c.rest+c.postgres, idle.rest+idle.postgres), each(c.postgres, idle.postgres))
	return nil
}

// at returns a percentile.
func at(d []time.Duration, percent int) string {
	slices.Sort(d)
	return d[(len(d)-1)*percent/100].Round(time.Millisecond).String()
}

// speak returns when the first and the last byte of the sound came.
func (b *bench) speak(ctx context.Context, format, input string) (first, last time.Duration, err error) {
	body, err := json.Marshal(map[string]string{"model": "any", "voice": "narrator-en", "response_format": format, "input": input})
	if err != nil {
		return 0, 0, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, b.box.URL+"/v1/audio/speech", bytes.NewReader(body))
	if err != nil {
		return 0, 0, err
	}
	req.Header.Set("Authorization", "Bearer "+b.box.Key)
	req.Header.Set("Content-Type", "application/json")
	began := time.Now()
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, 0, err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		raw, _ := io.ReadAll(resp.Body)
		return 0, 0, fmt.Errorf("%s: %s", resp.Status, raw)
	}
	in := bufio.NewReader(resp.Body)
	if _, err := in.Peek(1); err != nil {
		return 0, 0, err
	}
	first = time.Since(began)
	_, err = io.Copy(io.Discard, in)
	return first, time.Since(began), err
}
