// Command benchspeech measures POST /v1/audio/speech against one `voicemill up`
// with espeak-ng: the time to the first byte of sound and to the last one, for
// texts that were never spoken before, one after the other.
package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
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

func run(ctx context.Context, bin string, n int) (err error) {
	dir, err := os.MkdirTemp("", "benchspeech-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if err := os.Chmod(dir, 0o755); err != nil { //nolint:gosec // Postgres runs as another user
		return err
	}
	up := exec.CommandContext(ctx, filepath.Join(bin, "voicemill"), "up", "--json", "--data", filepath.Join(dir, "data"), //nolint:gosec // built by make
		"--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--s3-listen", "127.0.0.1:0", "--no-gateway-access-log")
	up.Stderr = os.Stderr
	out, err := up.StdoutPipe()
	if err != nil {
		return err
	}
	if err := up.Start(); err != nil {
		return err
	}
	defer func() {
		_ = up.Process.Signal(syscall.SIGTERM)
		err = errors.Join(err, up.Wait())
	}()
	var at struct {
		URL, KeyFile string
	}
	line, err := bufio.NewReader(out).ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("voicemill up did not start: %w", err)
	}
	if err := json.Unmarshal(line, &at); err != nil {
		return err
	}
	key, err := os.ReadFile(at.KeyFile)
	if err != nil {
		return err
	}
	return measure(ctx, at.URL, strings.TrimSpace(string(key)), n)
}

// text has four sentences, which take some ten seconds to speak.
func text(format string, n int) string {
	return fmt.Sprintf("This is text %d as %s. Nobody has heard it before, so it has to be made. It is read from the first segment on.\n\nThis is its last sentence.", n, format)
}

func measure(ctx context.Context, url, key string, n int) error {
	for try := 0; ; try++ { // until a worker has told its voices
		_, _, err := speak(ctx, url, key, "wav", "Everything is awake now.")
		if err == nil {
			break
		}
		if try == 100 {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
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
