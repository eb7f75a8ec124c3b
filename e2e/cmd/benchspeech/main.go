// Command benchspeech measures POST /v1/audio/speech against one `voicemill up`
// with espeak-ng: the time to the first byte of sound and to the last one, for
// texts that were never spoken before, one after the other.
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
)

func main() {
	n := flag.Int("n", 40, "texts in each format")
	bin := flag.String("bin", "bin", "folder with the built commands")
	flag.Parse()
	if err := run(context.Background(), *bin, *n); err != nil {
		fmt.Fprintln(os.Stderr, "benchspeech:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, bin string, n int) error {
	return onebox.Run(ctx, bin, func(b *onebox.Box) error { return measure(ctx, b.URL, b.Key, n) })
}

// text has four sentences, which take some ten seconds to speak.
func text(format string, n int) string {
	return fmt.Sprintf("This is text %d as %s. Nobody has heard it before, so it has to be made. It is read from the first segment on.\n\nThis is its last sentence.", n, format)
}

func measure(ctx context.Context, url, key string, n int) error {
	load, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return err
	}
	fmt.Printf("load average %s\n\n| format | first byte P50 | P95 | last byte P50 | P95 |\n|---|---|---|---|---|\n", strings.Fields(string(load))[0])
	for _, format := range []string{"wav", "pcm", "mp3", "opus", "aac", "flac"} {
		var first, last []time.Duration
		for i := range n {
			f, l, err := speak(ctx, url, key, format, text(format, i))
			if err != nil {
				return err
			}
			first, last = append(first, f), append(last, l)
		}
		fmt.Printf("| %s | %s | %s | %s | %s |\n", format, at(first, 50), at(first, 95), at(last, 50), at(last, 95))
	}
	return nil
}

// at returns a percentile.
func at(d []time.Duration, percent int) string {
	slices.Sort(d)
	return d[(len(d)-1)*percent/100].Round(time.Millisecond).String()
}

// speak returns when the first and the last byte of the sound came.
func speak(ctx context.Context, url, key, format, input string) (first, last time.Duration, err error) {
	body, err := json.Marshal(map[string]string{"model": "any", "voice": "narrator-en", "response_format": format, "input": input})
	if err != nil {
		return 0, 0, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url+"/v1/audio/speech", bytes.NewReader(body))
	if err != nil {
		return 0, 0, err
	}
	req.Header.Set("Authorization", "Bearer "+key)
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
