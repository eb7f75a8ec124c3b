package mill_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/voicemill/voicemill/e2e/enginesim"
	"github.com/voicemill/voicemill/e2e/internal/proctree"
	"github.com/voicemill/voicemill/e2e/internal/stage"
)

const (
	goodputWindow = 16
	mostSentences = 3000 // 1.5 GB of renditions, and as much of chapters
	warmUp        = 2 * goodputWindow
)

// TestGoodputThroughEverything has a simulated engine of a steady pace driven directly,
// with so many texts at once, and then the same sentences spoken by a `voicemill up` that
// has it as its pool with that window. It prints what of the direct goodput is left: while
// the engine had work, and from the submit to the finished job. VOICEMILL_GOODPUT_SECONDS
// says how long each pace is held; without it one pace is, for a few seconds.
func TestGoodputThroughEverything(t *testing.T) {
	paces, hold := []float64{200}, 4.0 // seconds of audio a second
	if v := os.Getenv("VOICEMILL_GOODPUT_SECONDS"); v != "" {
		var err error
		hold, err = strconv.ParseFloat(v, 64)
		require.NoError(t, err)
		paces = []float64{20, 200, 2000}
	}
	for _, pace := range paces {
		t.Run(fmt.Sprint(pace), func(t *testing.T) {
			n := min(max(int(pace*hold/(length/cps)), warmUp), mostSentences)
			direct, spoke, whole := goodput(t, pace, n)
			t.Logf("%4.0f s of audio a second, window %d, %d sentences, load average %s: directly %.1f; through everything %.1f (%.1f %%), from the submit to the end of the job %.1f (%.1f %%)",
				pace, goodputWindow, n, proctree.Load(), direct, spoke, 100*spoke/direct, whole, 100*whole/direct)
		})
	}
}

// goodput returns seconds of audio a second: of an engine driven directly, of the same
// engine while everything else drives it, and of the whole job.
func goodput(t *testing.T, pace float64, sentences int) (direct, spoke, whole float64) {
	t.Helper()
	cfg := enginesim.DefaultConfig()
	cfg.Dialect, cfg.Cost = "generic", enginesim.Continuous{Curve: []enginesim.Point{{N: 1, Goodput: pace}}}
	engine := startSim(t, cfg)
	ctx, cancel := context.WithTimeout(t.Context(), testLimit)
	defer cancel()

	var texts []string
	for line := range strings.Lines(string(book("the direct way", sentences))) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			texts = append(texts, line)
		}
	}
	direct = drive(ctx, t, engine, texts).pace()

	solo := stage.NewSolo(t, bin, stage.SoloConfig{Env: []string{"VOICEMILL_EAR=none"}, Args: []string{"--pools-file", poolOf(t, engine, goodputWindow)}})
	speakBook(ctx, t, solo, "warm", "what warms up", warmUp)
	watched, stop := watchEngine(ctx, t, engine)
	_, took := speakBook(ctx, t, solo, "book", "the way through", sentences)
	stop()
	through := <-watched
	require.GreaterOrEqual(t, through.texts, sentences)
	return direct, through.pace(), through.seconds / took.Seconds()
}

// stretch is what an engine did in a while.
type stretch struct {
	texts   int
	seconds float64 // of audio
	took    time.Duration
}

func (s stretch) pace() float64 { return s.seconds / s.took.Seconds() }

// drive has an engine speak texts, a window of them at once.
func drive(ctx context.Context, t *testing.T, engine string, texts []string) stretch {
	t.Helper()
	before := statsOf(ctx, t, engine)
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: goodputWindow}}
	defer client.CloseIdleConnections()
	all, calls := errgroup.WithContext(ctx)
	all.SetLimit(goodputWindow)
	begun := time.Now()
	for _, text := range texts {
		all.Go(func() error { return ask(calls, client, engine, text) })
	}
	require.NoError(t, all.Wait())
	took := time.Since(begun)
	after := statsOf(ctx, t, engine)
	return stretch{after.Texts - before.Texts, after.Seconds - before.Seconds, took}
}

func ask(ctx context.Context, client *http.Client, engine, text string) error {
	body, err := json.Marshal(map[string]string{"input": text, "model": "mill", "voice": "mill", "response_format": "wav"})
	if err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, engine+"/v1/audio/speech", bytes.NewReader(body))
	if err != nil {
		return err
	}
	resp, err := client.Do(r)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("status %d", resp.StatusCode)
	}
	_, err = io.Copy(io.Discard, resp.Body)
	return err
}

// watchEngine looks at an engine every few milliseconds until stop, and then tells what it
// did from its first text to its last.
func watchEngine(ctx context.Context, t *testing.T, engine string) (did <-chan stretch, stop func()) {
	t.Helper()
	out, ended := make(chan stretch, 1), make(chan struct{})
	before := statsOf(ctx, t, engine)
	go func() { // ends with stop or ctx
		last, first, latest := before, time.Time{}, time.Time{}
		for running := true; running; {
			select {
			case <-ended:
				running = false
			case <-ctx.Done():
				running = false
			case <-time.After(20 * time.Millisecond):
			}
			s, err := askStats(ctx, engine)
			if err != nil {
				continue // the next look tells
			}
			if s.Texts > before.Texts && first.IsZero() {
				first = time.Now()
			}
			if s.Seconds > last.Seconds {
				latest = time.Now()
			}
			last = s
		}
		out <- stretch{last.Texts - before.Texts, last.Seconds - before.Seconds, latest.Sub(first)}
	}()
	return out, func() { close(ended) }
}

// statsOf returns what a simulated engine did.
func statsOf(ctx context.Context, t *testing.T, engine string) enginesim.Stats {
	t.Helper()
	s, err := askStats(ctx, engine)
	require.NoError(t, err)
	return s
}

func askStats(ctx context.Context, engine string) (s enginesim.Stats, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, engine+"/sim/stats", http.NoBody)
	if err != nil {
		return s, err
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return s, err
	}
	defer func() { _ = resp.Body.Close() }()
	return s, json.NewDecoder(resp.Body).Decode(&s)
}
