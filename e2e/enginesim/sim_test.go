package enginesim

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"math"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/platform/wav"
)

// power is how much of samples is a note of hz.
func power(samples []float32, hz float64, rate int) float64 {
	var re, im float64
	for i, x := range samples {
		a := 2 * math.Pi * hz * float64(i) / float64(rate)
		re, im = re+float64(x)*math.Cos(a), im+float64(x)*math.Sin(a)
	}
	return re*re + im*im
}

func TestEachWordIsItsTone(t *testing.T) {
	t.Parallel()
	const rate = 8000
	words := strings.Fields("Every word sounds like itself, and in its place.")
	samples := Sound("anna", strings.Join(words, " "), 6, rate)
	require.Len(t, samples, 6*rate)
	all := 0
	for _, w := range words {
		all += len(w) + 1
	}
	at := 0
	for _, w := range words {
		n := len(samples) * (len(w) + 1) / all
		heard := power(samples[at:at+n], Pitch("anna", w), rate)
		for _, other := range words {
			if p := Pitch("anna", other); p != Pitch("anna", w) {
				require.Greater(t, heard, 3*power(samples[at:at+n], p, rate), "%s is not taken for %s", w, other)
			}
		}
		at += n
	}
	require.InDelta(t, Pitch("anna", "Word,"), Pitch("anna", "word"), 0)
	for _, x := range samples {
		require.LessOrEqual(t, math.Abs(float64(x)), 1.)
	}
}

func TestFaultsAreMarkedOrByChance(t *testing.T) {
	t.Parallel()
	chance := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // not a secret
	require.Equal(t, Hang, Faults{}.pick("This one is sim:hang.", chance))
	require.Equal(t, Fault(""), Faults{}.pick("This one is sim:nonsense and hang.", chance))
	f := Faults{Rates: map[Fault]float64{Slow: .2, Error: .3}}
	require.NoError(t, f.validate())
	got := map[Fault]int{}
	for range 10_000 {
		got[f.pick("A text.", chance)]++
	}
	require.InDelta(t, 2000, got[Slow], 200)
	require.InDelta(t, 3000, got[Error], 200)
	require.InDelta(t, 5000, got[""], 200)
	require.Error(t, Faults{Rates: map[Fault]float64{"melt": .1}}.validate())
	require.Error(t, Faults{Rates: map[Fault]float64{Slow: .6, Hang: .6}}.validate())
	require.Error(t, Faults{OOMAbove: -1}.validate())
}

func TestAConfigMustMakeSense(t *testing.T) {
	t.Parallel()
	require.NoError(t, DefaultConfig().Validate())
	for name, change := range map[string]func(*Config){
		"dialect": func(c *Config) { c.Dialect = "klingon" },
		"speedup": func(c *Config) { c.Speedup = 0 },
		"noise":   func(c *Config) { c.Noise = math.NaN() },
		"tokens":  func(c *Config) { c.MaxTokens = 1 },
		"faults":  func(c *Config) { c.Faults.LeakKB = -1 },
	} {
		cfg := DefaultConfig()
		change(&cfg)
		_, err := New(cfg)
		require.Error(t, err, name)
	}
}

func TestLengthsSpreadAndRunAway(t *testing.T) {
	t.Parallel()
	cfg := DefaultConfig()
	cfg.Noise, cfg.Runaways = .15, .01
	s, err := New(cfg)
	require.NoError(t, err)
	text := strings.Repeat("word ", 30)
	mean := .2 + 150/cfg.CPS
	sum, away := 0.0, 0
	for range 20_000 {
		seconds, _, done := s.begin(text)
		done()
		sum += math.Log(seconds / mean)
		if seconds > 1.9*mean {
			away++
		}
	}
	require.InDelta(t, .01*math.Log(runaway), sum/20_000, .005)
	require.InDelta(t, 200, away, 60)
}

// serve runs a Sim and returns the address of its HTTP.
func serve(t *testing.T, change func(*Config)) string {
	t.Helper()
	cfg := DefaultConfig()
	change(&cfg)
	s, err := New(cfg)
	require.NoError(t, err)
	var l net.ListenConfig
	web, err := l.Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	rpc, err := l.Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	var served sync.WaitGroup
	served.Go(func() { require.NoError(t, s.Serve(ctx, web, rpc)) })
	t.Cleanup(served.Wait)
	t.Cleanup(cancel)
	return "http://" + web.Addr().String()
}

// call returns what is answered to body.
func call(t *testing.T, method, url, body string) (code int, answer []byte) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	require.NoError(t, err)
	a, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	defer func() { require.NoError(t, a.Body.Close()) }()
	answer, err = io.ReadAll(a.Body)
	require.NoError(t, err)
	return a.StatusCode, answer
}

func TestRatesAreChangedWhileItRuns(t *testing.T) {
	t.Parallel()
	at := serve(t, func(c *Config) { c.Rate = 2400 })
	const text = `{"input": "One two three.", "voice": "anna"}`
	code, body := call(t, http.MethodPost, at+"/v1/audio/speech", text)
	require.Equal(t, http.StatusOK, code)
	rate, samples, err := wav.Decode(bytes.NewReader(body), 1<<20)
	require.NoError(t, err)
	require.Equal(t, 2400, rate)
	require.InDelta(t, .2+14/15.2, float64(len(samples))/2400, .01)
	code, _ = call(t, http.MethodPut, at+"/sim/faults", `{"rates": {"error": 1}}`)
	require.Equal(t, http.StatusNoContent, code)
	code, _ = call(t, http.MethodPost, at+"/v1/audio/speech", text)
	require.Equal(t, http.StatusInternalServerError, code)
	code, _ = call(t, http.MethodPut, at+"/sim/faults", `{"rates": {"melt": 1}}`)
	require.Equal(t, http.StatusBadRequest, code)
	_, body = call(t, http.MethodGet, at+"/sim/stats", "")
	var stats Stats
	require.NoError(t, json.Unmarshal(body, &stats))
	require.Equal(t, 2, stats.Texts)
	require.Equal(t, map[Fault]int{Error: 1}, stats.Faults)
	require.Equal(t, map[int]int{1: 1}, stats.Batches)
}

func TestMemoryIsEnoughForSoMany(t *testing.T) {
	t.Parallel()
	at := serve(t, func(c *Config) {
		c.Rate, c.Cost, c.Faults = 1000, Static{A: .05, Wait: 500 * time.Millisecond}, Faults{OOMAbove: 2, LeakKB: 1}
		c.Batch = 3
	})
	speak := func(n int) (codes []int) {
		codes = make([]int, n)
		var all sync.WaitGroup
		for i := range codes {
			all.Go(func() { codes[i], _ = call(t, http.MethodPost, at+"/v1/audio/speech", `{"input": "One."}`) })
		}
		all.Wait()
		return codes
	}
	require.Equal(t, []int{200}, speak(1))
	require.Equal(t, []int{500, 500, 500}, speak(3))
}

func TestAVoiceIsKnownByItsTranscriptAlone(t *testing.T) {
	t.Parallel()
	s, err := New(DefaultConfig())
	require.NoError(t, err)
	require.Equal(t, "first", s.voice("What is said.", "first"))
	require.Equal(t, "first", s.voice("What is said.", "second"))
	require.Equal(t, "second", s.voice("Something else.", "second"))
}

func FuzzElements(f *testing.F) {
	f.Add([]byte{1, 0, 0, 0, 'a'})
	f.Add([]byte{255, 255, 255, 255, 'a'})
	f.Fuzz(func(t *testing.T, raw []byte) {
		all, ok := elements(raw)
		size := 0
		for _, e := range all {
			size += 4 + len(e)
		}
		if ok && size != len(raw) {
			t.Fatalf("%d bytes of %d", size, len(raw))
		}
	})
}
