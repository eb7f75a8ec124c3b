package transcode_test

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"math"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/voicemill/voicemill/gateway/internal/transcode"
	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/wav"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func start(t *testing.T, cfg transcode.Config) *transcode.Transcoder {
	t.Helper()
	tc, err := transcode.New(cfg, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- tc.Run(ctx) }()
	t.Cleanup(func() { cancel(); require.NoError(t, <-done) })
	return tc
}

func tone(n int) []byte {
	samples := make([]int16, n)
	for i := range samples {
		samples[i] = int16(8000 * math.Sin(float64(i)/10))
	}
	return wav.AppendSamples(nil, samples)
}

func TestWhatGoesInComesOutInEveryFormat(t *testing.T) {
	t.Parallel()
	tc := start(t, transcode.DefaultConfig())
	formats, err := tc.Formats(t.Context())
	require.NoError(t, err)
	require.Equal(t, []transcode.Format{transcode.AAC, transcode.FLAC, transcode.MP3, transcode.Opus, transcode.PCM}, formats, "apt-get install ffmpeg")
	for _, f := range formats {
		for _, tempo := range []float64{0.5, 1, 2} {
			s, err := tc.Start(t.Context(), transcode.Input{Format: f, SampleRate: 22050, Tempo: tempo})
			require.NoError(t, err)
			fed := make(chan error, 1)
			go func() {
				in := tone(3 * 22050)
				for len(in) > 0 && err == nil {
					n := min(len(in), 10_000)
					_, err = s.Write(in[:n])
					in = in[n:]
				}
				fed <- s.CloseWrite()
			}()
			out, err := io.ReadAll(s)
			require.NoError(t, err)
			require.NoError(t, <-fed)
			s.Close()
			seconds := float64(len(out)) / 44_100
			if f != transcode.PCM {
				seconds = length(t, out)
			}
			require.InDelta(t, 3/tempo, seconds, 0.15, "%s at %v", f, tempo)
		}
	}
	require.Zero(t, tc.Running())
}

// length decodes audio and returns its seconds.
func length(t *testing.T, audio []byte) float64 {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "ffmpeg", "-v", "error", "-i", "pipe:0", "-f", "s16le", "-ar", "8000", "-ac", "1", "pipe:1")
	cmd.Stdin = bytes.NewReader(audio)
	raw, err := cmd.Output()
	require.NoError(t, err)
	return float64(len(raw)) / 16_000
}

func TestTooManyStreamsAreRefusedAndAClosedOneGivesItsPlaceBack(t *testing.T) {
	t.Parallel()
	cfg := transcode.DefaultConfig()
	cfg.Max = 1
	tc := start(t, cfg)
	in := transcode.Input{Format: transcode.MP3, SampleRate: 24_000}
	s, err := tc.Start(t.Context(), in)
	require.NoError(t, err)
	_, err = tc.Start(t.Context(), in)
	require.Equal(t, job.Overloaded, job.KindOf(err))
	written := make(chan error, 1)
	go func() { // until ffmpeg and the pipes are full
		for {
			if _, err := s.Write(make([]byte, 1<<16)); err != nil {
				written <- err
				return
			}
		}
	}()
	s.Close()
	s.Close()
	require.Error(t, <-written)
	_, err = s.Read(make([]byte, 1))
	require.Error(t, err)
	require.NotErrorIs(t, err, io.EOF, "what was cut off is not whole")
	require.Zero(t, tc.Running())

	ctx, cancel := context.WithCancel(t.Context())
	s, err = tc.Start(ctx, in)
	require.NoError(t, err)
	cancel()
	_, err = io.ReadAll(s)
	require.Equal(t, job.Internal, job.KindOf(err))
	s.Close()
}

func TestAMachineWithoutFfmpegMakesNothing(t *testing.T) {
	t.Parallel()
	for name, path := range map[string]string{"none wanted": "", "none there": "no-such-program", "another program": "false"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := transcode.DefaultConfig()
			cfg.Path = path
			tc := start(t, cfg)
			formats, err := tc.Formats(t.Context())
			require.NoError(t, err)
			require.Empty(t, formats)
			_, err = tc.Start(t.Context(), transcode.Input{Format: transcode.MP3, SampleRate: 24_000})
			require.Equal(t, job.Unavailable, job.KindOf(err))
		})
	}
	_, err := transcode.New(transcode.Config{}, slog.New(slog.DiscardHandler))
	require.Error(t, err)
}
