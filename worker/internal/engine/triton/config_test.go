package triton

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestNewRefusesWhatCannotWork(t *testing.T) {
	t.Parallel()
	two := func(t *testing.T, a, b, text string) map[string]Voice {
		t.Helper()
		return map[string]Voice{"a": {RefAudio: a, RefText: "One text."}, "b": {RefAudio: b, RefText: text}}
	}
	long := recording(t, 16000, 3)
	for name, change := range map[string]func(*Config){
		"no backend":                     func(c *Config) { c.Backends = nil },
		"an address without port":        func(c *Config) { c.Backends = []string{"gpu-1"} },
		"an address without host":        func(c *Config) { c.Backends = []string{":8001"} },
		"the address of the HTTP port":   func(c *Config) { c.Backends = []string{"http://gpu-1:8000"} },
		"a password in the address":      func(c *Config) { c.Backends = []string{"grpc://me:pw@gpu-1:8000"} },
		"a path in the address":          func(c *Config) { c.Backends = []string{"grpc://gpu-1:8000/v2"} },
		"no voices":                      func(c *Config) { c.Voices = nil },
		"default that is no voice":       func(c *Config) { c.Default = "nobody" },
		"a voice without transcript":     func(c *Config) { c.Voices = map[string]Voice{"a": {RefAudio: long}} },
		"a voice without recording":      func(c *Config) { c.Voices = map[string]Voice{"a": {RefText: "x"}} },
		"reference that is not there":    func(c *Config) { c.Voices = map[string]Voice{"a": {RefAudio: "/nonexistent.wav", RefText: "x"}} },
		"reference of another type":      func(c *Config) { c.Voices = map[string]Voice{"a": {RefAudio: "/etc/hosts", RefText: "x"}} },
		"reference of half a second":     func(c *Config) { c.Voices = map[string]Voice{"a": {RefAudio: recording(t, 16000, .5), RefText: "x"}} },
		"reference of half a minute":     func(c *Config) { c.Voices = map[string]Voice{"a": {RefAudio: recording(t, 16000, 31), RefText: "x"}} },
		"reference of a telephone":       func(c *Config) { c.Voices = map[string]Voice{"a": {RefAudio: recording(t, 8000, 3), RefText: "x"}} },
		"two voices with one transcript": func(c *Config) { c.Voices = two(t, long, recording(t, 16000, 4), "One text.") },
		"two voices with one transcript after their instructions": func(c *Config) {
			c.Instructions = true
			c.Voices = two(t, long, recording(t, 16000, 4), "Be warm.<|endofprompt|>One text.")
		},
		"negative window":            func(c *Config) { c.Window = -1 },
		"time factor under one":      func(c *Config) { c.TimeoutFactor = .5 },
		"fewer tokens than a second": func(c *Config) { c.MaxTokens = 24 },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := settings(t)
			cfg.Backends = []string{"127.0.0.1:1"}
			change(&cfg)
			_, err := New(cfg)
			require.Error(t, err)
			require.NotContains(t, err.Error(), "pw@")
		})
	}
}

func TestTwoNamesForOneVoiceAreFine(t *testing.T) {
	t.Parallel()
	cfg := settings(t)
	cfg.Backends = []string{"grpcs://gpu-1:443", "gpu-2:8001"}
	cfg.Voices["beta"] = cfg.Voices["anna"]
	all, err := New(cfg)
	require.NoError(t, err)
	info := all[1].Info()
	require.Equal(t, "gpu-2:8001", info.Address)
	require.Equal(t, "triton cosyvoice3", info.Model)
	require.Equal(t, info.Voices[0].Fingerprint, info.Voices[1].Fingerprint)
	for _, e := range all {
		require.NoError(t, e.Close())
	}
}

// Instructions that the transcripts have make two voices of one recording, or of two that the
// server can tell apart as long as requests bring none.
func TestVoicesMayDifferInTheirInstructions(t *testing.T) {
	t.Parallel()
	long, longer := recording(t, 16000, 3), recording(t, 16000, 4)
	for name, c := range map[string]struct {
		audio        string
		instructions bool
	}{"one recording": {long, true}, "two": {longer, false}} {
		cfg := settings(t)
		cfg.Backends, cfg.Instructions, cfg.Default = []string{"127.0.0.1:1"}, c.instructions, ""
		cfg.Voices = map[string]Voice{
			"a": {RefAudio: long, RefText: "One text."}, "b": {RefAudio: c.audio, RefText: "Be warm.<|endofprompt|>One text."},
		}
		all, err := New(cfg)
		require.NoError(t, err, name)
		for _, e := range all {
			require.NoError(t, e.Close())
		}
	}
}

func TestAFingerprintIsOfSoundAndText(t *testing.T) {
	t.Parallel()
	a := newReference([]int16{1, 2, 3}, "x").fingerprint()
	require.Equal(t, a, newReference([]int16{1, 2, 3}, "x").fingerprint())
	require.NotEqual(t, a, newReference([]int16{1, 2, 4}, "x").fingerprint())
	require.NotEqual(t, a, newReference([]int16{1, 2, 3, 0}, "x").fingerprint())
	require.NotEqual(t, a, newReference([]int16{1, 2, 3}, "y").fingerprint())
}
