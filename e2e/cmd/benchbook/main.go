// Command benchbook measures the main job: a book of a given length, written
// from a seed, goes through one `voicemill up` with espeak-ng. It prints the
// time from submit to the last chapter, the audio made, and the memory of the
// process before and at its peak.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/voicemill/voicemill/e2e/internal/onebox"
)

func main() {
	words := flag.Int("words", 100_000, "length of the book")
	seed := flag.Uint64("seed", 1, "seed of its text")
	bin := flag.String("bin", "bin", "folder with the built commands")
	flag.Parse()
	if err := run(context.Background(), *bin, *words, *seed); err != nil {
		fmt.Fprintln(os.Stderr, "benchbook:", err)
		os.Exit(1)
	}
}

// vocabulary is what the book is made of; how long its words are matters, not what they mean.
const vocabulary = `the of and a to in he was that it his her with as had for she not at but be on they have him which
said from all this one were by so there when them out been would more their what who if no up my into then me time could
some little very now about down see like other know man over again before here after day come made good great through
house hand night long another light never morning found window between children water nothing evening machine listen`

// book writes a Markdown book of so many words in chapters of about 5,000.
func book(words int, seed uint64) string {
	rng := rand.New(rand.NewPCG(seed, seed)) //nolint:gosec // repeatable, not secret
	vocab := strings.Fields(vocabulary)
	var b strings.Builder
	for written, chapter := 0, 1; written < words; chapter++ {
		fmt.Fprintf(&b, "# Chapter %d\n\n", chapter)
		for end := min(words, written+5000); written < end; {
			for range 2 + rng.IntN(5) { // sentences of a paragraph
				n := 6 + rng.IntN(18)
				for i := range n {
					w := vocab[rng.IntN(len(vocab))]
					if i == 0 {
						w = strings.ToUpper(w[:1]) + w[1:]
					}
					b.WriteString(w)
					if i < n-1 {
						b.WriteByte(' ')
					}
				}
				b.WriteString(". ")
				written += n
			}
			b.WriteString("\n\n")
		}
	}
	return b.String()
}

func run(ctx context.Context, bin string, words int, seed uint64) error {
	return onebox.Run(ctx, bin, func(b *onebox.Box) error {
		manuscript := filepath.Join(b.Dir, "book.md")
		if err := os.WriteFile(manuscript, []byte(book(words, seed)), 0o600); err != nil {
			return err
		}
		return measure(ctx, bin, b.PID, b.URL, b.KeyFile, manuscript)
	})
}

func measure(ctx context.Context, bin string, pid int, url, keyFile, manuscript string) error {
	idle, err := memory(pid, "VmRSS")
	if err != nil {
		return err
	}
	if err := os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", pid), []byte("5"), 0o200); err != nil { // resets the peak
		return err
	}
	cpu := cpuSeconds(pid)
	began := time.Now()
	submit := exec.CommandContext(ctx, filepath.Join(bin, "voicemill"), "--url", url, "--key-file", keyFile, "--json", "submit", manuscript, "--wait") //nolint:gosec // built by make
	submit.Stderr = os.Stderr
	answer, err := submit.Output()
	if err != nil {
		return fmt.Errorf("submit: %w", err)
	}
	took := time.Since(began)
	peak, err := memory(pid, "VmHWM")
	if err != nil {
		return err
	}
	lines := strings.Split(strings.TrimSpace(string(answer)), "\n")
	var job struct {
		State    string `json:"state"`
		Progress struct {
			AudioSeconds float64             `json:"audio_seconds"`
			Segments     struct{ Total int } `json:"segments"`
			Chapters     struct{ Total int } `json:"chapters"`
		} `json:"progress"`
	}
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &job); err != nil {
		return err
	}
	if job.State != "succeeded" {
		return fmt.Errorf("the job ended %s", job.State)
	}
	audio := job.Progress.AudioSeconds
	fmt.Printf("chapters %d, segments %d, audio %.1f h\n", job.Progress.Chapters.Total, job.Progress.Segments.Total, audio/3600)
	fmt.Printf("submit to finished      %8.1f s  (%.0f x real time)\n", took.Seconds(), audio/took.Seconds())
	fmt.Printf("cpu of voicemill up     %8.1f s  (helpers and Postgres apart)\n", cpuSeconds(pid)-cpu)
	fmt.Printf("RSS idle                %8.1f MB\nRSS peak                %8.1f MB\nRSS growth              %8.1f MB\n", idle, peak, peak-idle)
	return nil
}

// memory reads a field of /proc/PID/status in MB (10^6 bytes).
func memory(pid int, field string) (float64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, field+":"); ok {
			kb, err := strconv.ParseFloat(strings.Fields(rest)[0], 64)
			return kb * 1024 / 1e6, err
		}
	}
	return 0, fmt.Errorf("no %s of process %d", field, pid)
}

// cpuSeconds is the processor time of a process without its children.
func cpuSeconds(pid int) float64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	user, _ := strconv.ParseFloat(fields[11], 64) // utime and stime, in ticks of 10 ms
	system, _ := strconv.ParseFloat(fields[12], 64)
	return (user + system) / 100
}
