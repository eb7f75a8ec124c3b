package mill_test

import (
	"context"
	"net"
	"os"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/api/jobdoc"
	"github.com/voicemill/voicemill/e2e/enginesim"
	"github.com/voicemill/voicemill/e2e/internal/proctree"
	"github.com/voicemill/voicemill/e2e/internal/stage"
)

const (
	hurry     = 20 // times as fast as an L20, without VOICEMILL_TWICE_SEGMENTS
	l20Window = 8
)

// TestTheSameBookTwiceIsSpokenOnce has a book spoken by a simulated CosyVoice2 on an L20,
// and then again. With VOICEMILL_TWICE_SEGMENTS, how many sentences it has, the engine
// takes its time, and the second time must take less than a tenth of the first.
func TestTheSameBookTwiceIsSpokenOnce(t *testing.T) {
	cfg, n := enginesim.DefaultConfig(), aChapter+4
	cfg.Dialect, cfg.Speedup, cfg.Noise = "generic", hurry, .15
	real := os.Getenv("VOICEMILL_TWICE_SEGMENTS")
	var err error
	if real != "" {
		cfg.Speedup = 1
		n, err = strconv.Atoi(real)
		require.NoError(t, err)
	}
	cfg.Cost, err = enginesim.ParseCost("l20")
	require.NoError(t, err)
	engine := startSim(t, cfg)
	solo := stage.NewSolo(t, bin, stage.SoloConfig{Env: []string{"VOICEMILL_EAR=none"}, Args: []string{"--pools-file", poolOf(t, engine, l20Window)}})
	ctx, cancel := context.WithTimeout(t.Context(), testLimit)
	defer cancel()

	const title = "a book that is read twice"
	first, took := speakBook(ctx, t, solo, "first", title, n)
	require.Equal(t, first.Progress.Segments.Total, first.Progress.Segments.Done)
	texts := statsOf(ctx, t, engine).Texts
	require.GreaterOrEqual(t, texts, first.Progress.Segments.Total)
	again, tookAgain := speakBook(ctx, t, solo, "second", title, n)
	require.Equal(t, again.Progress.Segments.Total, again.Progress.Segments.Reused)
	require.Zero(t, again.Progress.Segments.Done)
	require.Equal(t, texts, statsOf(ctx, t, engine).Texts, "the engine was asked again")
	require.Equal(t, digests(first), digests(again))
	t.Logf("%d segments, %.0f s of audio, load average %s: %.2f s, and %.2f s when they were there (%.1f %%)",
		first.Progress.Segments.Total, first.Progress.AudioSeconds, proctree.Load(), took.Seconds(), tookAgain.Seconds(), 100*tookAgain.Seconds()/took.Seconds())
	if real != "" {
		require.Less(t, tookAgain, took/10)
	}
}

// startSim serves a simulated engine and returns its address.
func startSim(t *testing.T, cfg enginesim.Config) (url string) {
	t.Helper()
	sim, err := enginesim.New(cfg)
	require.NoError(t, err)
	var l net.ListenConfig
	web, err := l.Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	rpc, err := l.Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	served := make(chan error, 1)
	go func() { served <- sim.Serve(ctx, web, rpc) }()
	t.Cleanup(func() {
		stop()
		require.NoError(t, <-served)
	})
	return "http://" + web.Addr().String()
}

// digests are those of the audio of a job.
func digests(d jobdoc.Document) map[string]string {
	all := map[string]string{}
	for _, a := range d.Artifacts {
		if a.MediaType == "audio/wav" {
			all[a.Name] = a.SHA256
		}
	}
	return all
}
