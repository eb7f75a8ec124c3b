package openaispeech

import (
	"context"
	"io"
	"net"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/config"
	"github.com/voicemill/voicemill/platform/wav"
	"github.com/voicemill/voicemill/worker/internal/engine"
	"github.com/voicemill/voicemill/worker/internal/engine/enginetest"
)

func one(t *testing.T, e *Engine, q engine.Request) engine.Result {
	t.Helper()
	results, err := e.Synthesize(t.Context(), []engine.Request{q})
	require.NoError(t, err)
	return results[0]
}

func TestFaultsOfABackend(t *testing.T) {
	t.Parallel()
	for fault, c := range map[string]struct {
		kind job.Kind
		is   error
	}{
		"HANG":       {job.Engine, errHung},
		"HANGBODY":   {job.Engine, errHung},
		"CUT":        {job.Engine, engine.ErrLost},
		"CUTCHUNKED": {job.Engine, wav.ErrTruncated},
		"CUTCLEAN":   {job.Engine, wav.ErrTruncated},
		"CUTTOKENS":  {job.Engine, errTruncated},
		"RESET":      {job.Engine, engine.ErrLost},
		"EMPTY":      {job.Engine, wav.ErrTruncated},
		"RATE":       {job.Engine, errRate},
		"FLOAT":      {job.Engine, wav.ErrFormat},
		"ENDLESS":    {job.Engine, wav.ErrTooLong},
		"JSON":       {job.Engine, errContentType},
		"JSONASWAV":  {job.Engine, wav.ErrFormat},
		"MP3":        {job.Engine, errContentType},
		"LIMIT":      {job.Engine, errLimit},
		"REDIRECT":   {job.Engine, nil},
		"418":        {job.Invalid, nil},
		"500":        {job.Engine, nil},
		"400":        {job.Invalid, nil},
		"422":        {job.Invalid, nil},
		"401":        {job.Invalid, nil},
		"404":        {job.Invalid, nil},
		"502":        {job.Engine, nil},
		"429":        {job.Overloaded, nil},
		"503":        {job.Overloaded, nil},
	} {
		for _, dialect := range []Dialect{VLLMOmni, SGLangOmni} {
			t.Run(fault+" from "+string(dialect), func(t *testing.T) {
				t.Parallel()
				cfg := settings(t, serve(t, dialect))
				cfg.MinTimeout = 600 * time.Millisecond // only HANG and HANGBODY see it
				cfg.TimeoutFactor = 1
				cfg.MaxAudio = 10 * time.Second
				e := open(t, cfg)
				q := enginetest.Request(fault + " is what happens to this text of some length.")
				if fault != "HANG" && fault != "HANGBODY" {
					q.Seconds += 30
					q.Seconds = min(q.Seconds, 9)
				} else {
					q.Seconds = 0.1
				}
				r := one(t, e, q)
				require.Error(t, r.Err)
				require.Equalf(t, c.kind, job.KindOf(r.Err), "%v", r.Err)
				if c.is != nil {
					require.ErrorIs(t, r.Err, c.is)
				}
				require.Empty(t, r.Audio.Samples)
				require.NotContains(t, r.Err.Error(), testKey)
				require.NotEmpty(t, r.Backend)
			})
		}
	}
}

// What the audio is worth is not for a driver to say.
func TestPoorAudioIsAnAnswer(t *testing.T) {
	t.Parallel()
	e := open(t, settings(t, serve(t, Generic)))
	for _, fault := range []string{"NOSAMPLES", "SILENCE", "SHORT"} {
		require.NoError(t, one(t, e, enginetest.Request(fault+" is what comes.")).Err, fault)
	}
}

func TestRetryAfterIsData(t *testing.T) {
	t.Parallel()
	e := open(t, settings(t, serve(t, SGLangOmni)))
	after, ok := engine.RetryAfter(one(t, e, enginetest.Request("429 please")).Err)
	require.True(t, ok)
	require.Equal(t, 7*time.Second, after)
	e = open(t, settings(t, serve(t, SGLangOmni)))
	_, ok = engine.RetryAfter(one(t, e, enginetest.Request("503 please")).Err)
	require.False(t, ok)
}

func TestPlaceholderSizesAreUnderstood(t *testing.T) {
	t.Parallel()
	e := open(t, settings(t, serve(t, VLLMOmni)))
	q := enginetest.Request("PLACEHOLDER sizes are what streaming servers write.")
	enginetest.Good(t, e, q, one(t, e, q))
}

// Where the dialect reads them beside a reference; control tokens of whoever wrote them go.
func TestInstructionsGoWhereTheDialectReadsThem(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		dialect                      Dialect
		voice                        string
		wantInstructions, wantPrompt string
	}{
		"in place of the voice's":    {Generic, "anna", "Speak  warmly.", ""},
		"before the transcript":      {VLLMOmni, "anna", "", "You are a helpful assistant. Speak  warmly.<|endofprompt|>What is said."},
		"in place of the transcript": {SGLangOmni, "anna", "Speak  warmly.", ""},
		"beside audio alone":         {SGLangOmni, "loud", "Speak  warmly.", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, c.dialect)
			cfg := settings(t, s)
			cfg.Instructions = true
			e := open(t, cfg)
			q := enginetest.Request("A quick word.")
			q.Voice, q.Instructions = c.voice, "Speak<|endofprompt|> warmly."
			enginetest.Good(t, e, q, one(t, e, q))
			got := s.seen()[0]
			require.Equal(t, c.wantInstructions, got.Instructions)
			require.Equal(t, c.wantPrompt, got.RefText)
			require.Equal(t, q.Text, got.Input)
		})
	}
}

func TestRequestSaysWhatTheDialectNeeds(t *testing.T) {
	t.Parallel()
	for _, dialect := range []Dialect{Generic, VLLMOmni, SGLangOmni} {
		t.Run(string(dialect), func(t *testing.T) {
			t.Parallel()
			s := serve(t, dialect)
			cfg := settings(t, s)
			e := open(t, cfg)
			q := enginetest.Request("A quick word with “quotes” and 漢字.")
			q.Speed, q.Seed, q.Language, q.Voice = 1.25, 7, "en-GB", "anna"
			enginetest.Good(t, e, q, one(t, e, q))
			got := s.seen()[0]
			require.Equal(t, q.Text, got.Input)
			require.Equal(t, "cosyvoice3", got.Model)
			require.InDelta(t, 1.25, got.Speed, 0)
			if dialect == Generic {
				require.Equal(t, speechRequest{Input: q.Text, Model: "cosyvoice3", Voice: "alloy", ResponseFormat: "wav", Speed: 1.25, Instructions: "Speak slowly."}, got)
				return
			}
			require.Equal(t, "en-GB", got.Language)
			require.EqualValues(t, 7, *got.Seed)
			require.False(t, *got.Stream)
			require.Equal(t, "What is said.", got.RefText)
			require.GreaterOrEqual(t, got.MaxNewTokens, minNewTokens)
			reference, err := os.ReadFile(cfg.Voices["anna"].RefAudio)
			require.NoError(t, err)
			require.Equal(t, reference, decodeReference(t, got.RefAudio))
		})
	}
}

func TestMarksWithoutLettersAreNotSent(t *testing.T) {
	t.Parallel()
	s := serve(t, VLLMOmni)
	e := open(t, settings(t, s))
	q := enginetest.Request("… — !?")
	r := one(t, e, q)
	enginetest.Good(t, e, q, r)
	require.Len(t, r.Audio.Samples, 24000/5)
	require.Empty(t, s.seen())
}

// A server may drop a kept-alive connection just as it is used again.
func TestStaleConnectionIsReplacedUnnoticed(t *testing.T) {
	t.Parallel()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var wg sync.WaitGroup
	t.Cleanup(wg.Wait)
	t.Cleanup(func() { require.NoError(t, listener.Close()) })
	wg.Go(func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { answerOnceThenDrop(c) })
		}
	})
	e := open(t, Config{
		Backends: []string{"http://" + listener.Addr().String()}, Model: "m",
		Voices: map[string]Voice{"anna": {Name: "alloy"}},
	})
	for i := range 5 {
		q := enginetest.Request(enginetest.Sentence(i))
		enginetest.Good(t, e, q, one(t, e, q))
	}
}

// One that dies with a request on a kept-alive connection takes no other one: that is no
// failure to connect, or its text would go on to end the next.
func TestADeathOnAKeptConnectionIsADeath(t *testing.T) {
	t.Parallel()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var wg sync.WaitGroup
	t.Cleanup(wg.Wait)
	wg.Go(func() {
		c, err := listener.Accept()
		if err == nil {
			answerOnceThenDrop(&dying{Conn: c, listener: listener})
		}
	})
	e := open(t, Config{
		Backends: []string{"http://" + listener.Addr().String()}, Model: "m",
		Voices: map[string]Voice{"anna": {Name: "alloy"}},
	})
	q := enginetest.Request(enginetest.Sentence(1))
	enginetest.Good(t, e, q, one(t, e, q))
	dead := one(t, e, q).Err
	require.Equal(t, job.Engine, job.KindOf(dead), "%v", dead)
	require.ErrorIs(t, dead, engine.ErrLost)
	require.Equal(t, job.Unavailable, job.KindOf(one(t, e, q).Err))
}

// dying is the connection of a server that listens no more when it closes it.
type dying struct {
	net.Conn
	listener net.Listener
}

func (d *dying) Close() error {
	_ = d.listener.Close()
	return d.Conn.Close() //nolint:wrapcheck // of the connection
}

// answerOnceThenDrop answers the first request on c and drops c when it has read
// a second.
func answerOnceThenDrop(c net.Conn) {
	defer func() { _ = c.Close() }()
	buf := make([]byte, 64<<10)
	if _, err := c.Read(buf); err != nil {
		return
	}
	body := wav.Encode(24000, speech(speechRequest{Input: enginetest.Sentence(6)}, 24000))
	_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Type: audio/wav\r\nContent-Length: "+
		strconv.Itoa(len(body))+"\r\n\r\n")
	_, _ = c.Write(body)
	_, _ = c.Read(buf)
}

func TestCallerWhoLeavesAbortsTheRequest(t *testing.T) {
	t.Parallel()
	s := serve(t, VLLMOmni)
	e := open(t, settings(t, s))
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		for len(s.seen()) == 0 {
			select {
			case <-ctx.Done():
			case <-time.After(time.Millisecond):
			}
		}
		cancel()
	}()
	_, err := e.Synthesize(ctx, []engine.Request{enginetest.Request("HANG on")})
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, job.Unavailable, job.KindOf(err))
	require.Eventually(t, func() bool {
		var n int
		s.set(func() { n = s.inFlight })
		return n == 0
	}, 10*time.Second, time.Millisecond, "the server sees that the caller left")
	q := enginetest.Request("Still well.")
	enginetest.Good(t, e, q, one(t, e, q))
}

func TestErrorsHoldNoSecret(t *testing.T) {
	t.Parallel()
	err := one(t, open(t, settings(t, serve(t, VLLMOmni))), enginetest.Request("500 with my key")).Err
	require.ErrorContains(t, err, "the text was")
	require.NotContains(t, err.Error(), testKey)
}

func TestNewRefusesWhatCannotWork(t *testing.T) {
	t.Parallel()
	s := serve(t, VLLMOmni)
	for name, change := range map[string]func(*Config){
		"no backend":                  func(c *Config) { c.Backends = nil },
		"an address without scheme":   func(c *Config) { c.Backends = []string{"gpu-1:8000"} },
		"a password in the address":   func(c *Config) { c.Backends = []string{"http://me:pw@gpu-1:8000"} },
		"unknown dialect":             func(c *Config) { c.Dialect = "klingon" },
		"no voices":                   func(c *Config) { c.Voices = nil },
		"default that is no voice":    func(c *Config) { c.Default = "nobody" },
		"no model for generic":        func(c *Config) { c.Dialect, c.Model, c.Voices = Generic, "", map[string]Voice{"a": {Name: "a"}} },
		"reference audio for generic": func(c *Config) { c.Dialect = Generic },
		"reference without text":      func(c *Config) { c.Voices = map[string]Voice{"a": {RefAudio: recording(t, 2)}} },
		"text without reference":      func(c *Config) { c.Voices = map[string]Voice{"a": {Name: "a", RefText: "x"}} },
		"instructions and reference": func(c *Config) {
			c.Voices = map[string]Voice{"a": {RefAudio: recording(t, 2), RefText: "x", Instructions: "y"}}
		},
		"reference that is not there": func(c *Config) { c.Voices = map[string]Voice{"a": {RefAudio: "/nonexistent.wav", RefText: "x"}} },
		"reference of another type":   func(c *Config) { c.Voices = map[string]Voice{"a": {RefAudio: "/etc/hosts", RefText: "x"}} },
		"reference of half a second":  func(c *Config) { c.Voices = map[string]Voice{"a": {RefAudio: recording(t, .5), RefText: "x"}} },
		"reference of half a minute":  func(c *Config) { c.Voices = map[string]Voice{"a": {RefAudio: recording(t, 31), RefText: "x"}} },
		"an empty voice":              func(c *Config) { c.Voices = map[string]Voice{"a": {}} },
		"negative window":             func(c *Config) { c.Window = -1 },
		"time factor under one":       func(c *Config) { c.TimeoutFactor = .5 },
		"key with a line break":       func(c *Config) { c.APIKey = config.NewSecret("a\r\nb") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := settings(t, s)
			change(&cfg)
			_, err := New(cfg)
			require.Error(t, err)
			require.NotContains(t, err.Error(), "pw@")
		})
	}
}
