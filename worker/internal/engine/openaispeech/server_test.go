package openaispeech

import (
	"encoding/base64"
	"encoding/json"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/platform/config"
	"github.com/voicemill/voicemill/platform/wav"
)

const testKey = "sk-very-secret"

// server speaks the wire of the two omni servers and fails as the first word of
// a text asks.
type server struct {
	*httptest.Server
	dialect Dialect

	mu       sync.Mutex
	requests []speechRequest // guarded by mu
	inFlight int             // guarded by mu
	most     int             // guarded by mu; most in flight at once
	fault    string          // guarded by mu; for every text, instead of its first word
	hold     chan struct{}   // guarded by mu; when not nil, answers wait for it to close
}

func serve(t *testing.T, dialect Dialect) *server {
	t.Helper()
	s := &server{dialect: dialect}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

func (s *server) set(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

func (s *server) seen() []speechRequest {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]speechRequest(nil), s.requests...)
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var q speechRequest
	d := json.NewDecoder(r.Body)
	d.DisallowUnknownFields()
	if r.Method != http.MethodPost || r.URL.Path != "/v1/audio/speech" || r.Header.Get("Content-Type") != "application/json" {
		refuse(w, http.StatusNotFound, "no such call")
		return
	}
	if err := d.Decode(&q); err != nil {
		refuse(w, http.StatusBadRequest, err.Error())
		return
	}
	if r.Header.Get("Authorization") != "Bearer "+testKey {
		refuse(w, http.StatusUnauthorized, "bad key "+r.Header.Get("Authorization"))
		return
	}
	s.mu.Lock()
	s.requests = append(s.requests, q)
	s.inFlight++
	s.most = max(s.most, s.inFlight)
	hold, fault := s.hold, s.fault
	s.mu.Unlock()
	defer s.set(func() { s.inFlight-- })
	if hold != nil {
		select {
		case <-hold:
		case <-r.Context().Done():
			return
		}
	}
	if fault == "" {
		fault, _, _ = strings.Cut(q.Input, " ")
	}
	if message := s.rules(q); message != "" {
		refuse(w, http.StatusBadRequest, message)
		return
	}
	s.answer(w, r, q, fault)
}

// rules are what the real servers insist on.
func (s *server) rules(q speechRequest) string {
	switch {
	case q.ResponseFormat != "wav":
		return "response_format"
	case s.dialect == Generic && (q.Stream != nil || q.Seed != nil || q.RefAudio != "" || q.MaxNewTokens != 0 || q.Language != ""):
		return "unknown field"
	case s.dialect == VLLMOmni && (q.RefAudio == "") != (q.RefText == ""):
		return "ref_audio and ref_text are required"
	case s.dialect == SGLangOmni && q.RefText != "" && q.Instructions != "":
		return "ref_text and instructions are mutually exclusive"
	case q.RefAudio != "" && !strings.HasPrefix(q.RefAudio, "data:audio/wav;base64,UklGR"):
		return "ref_audio"
	}
	return ""
}

func refuse(w http.ResponseWriter, status int, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{"error": map[string]any{"message": message, "code": status}})
}

// speech is a tone as long as the text is.
func speech(q speechRequest, rate int) []int16 {
	speed := q.Speed
	if speed == 0 {
		speed = 1
	}
	seconds := (0.2 + float64(utf8.RuneCountInString(q.Input))/15) / speed
	samples := make([]int16, int(seconds*float64(rate)))
	period := rate / 200
	for i := range min(period, len(samples)) {
		samples[i] = int16(8000 * math.Sin(2*math.Pi*float64(i)/float64(period)))
	}
	for n := period; n < len(samples); n *= 2 {
		copy(samples[n:], samples[:n])
	}
	return samples
}

func (s *server) answer(w http.ResponseWriter, r *http.Request, q speechRequest, fault string) {
	const rate = 24000
	samples := speech(q, rate)
	tokens := int(math.Round(float64(len(samples)) / rate * 25 * max(q.Speed, 1)))
	body := wav.Encode(rate, samples)
	w.Header().Set("Content-Type", "audio/wav")
	finish := "stop"
	switch fault {
	case "HANG":
		<-r.Context().Done()
		return
	case "HANGBODY":
		_, _ = w.Write(body[:len(body)/2])
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
		return
	case "CUT": // the length is announced, so the client can tell
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		_, _ = w.Write(body[:len(body)/2])
		panic(http.ErrAbortHandler)
	case "CUTCHUNKED":
		_, _ = w.Write(body[:len(body)/2])
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	case "CUTCLEAN": // the server believes it is done
		body = body[:len(body)/2]
	case "CUTTOKENS": // the file is whole, the speech is not
		body = wav.Encode(rate, samples[:len(samples)/2])
	case "RESET":
		panic(http.ErrAbortHandler)
	case "EMPTY":
		return
	case "NOSAMPLES":
		body = wav.Encode(rate, nil)
	case "SILENCE":
		body = wav.Encode(rate, make([]int16, len(samples)))
	case "SHORT":
		body, tokens = wav.Encode(rate, samples[:rate/20]), 1
	case "RATE":
		body = wav.Encode(16000, samples)
	case "FLOAT":
		body[20] = 3
	case "ENDLESS":
		endless(w, body)
		return
	case "JSON":
		w.Header().Set("Content-Type", "application/json")
		body = []byte(`{"status":"ok"}`)
	case "JSONASWAV":
		body = []byte(`{"error":{"message":"out of memory"}}`)
	case "MP3":
		w.Header().Set("Content-Type", "audio/mpeg")
	case "LIMIT":
		finish, tokens = "length", q.MaxNewTokens
	case "429":
		w.Header().Set("Retry-After", "7")
		refuse(w, http.StatusTooManyRequests, "admission_rejected")
		return
	case "503":
		refuse(w, http.StatusServiceUnavailable, "queue full")
		return
	case "400", "401", "404", "418", "422", "500", "502":
		status, _ := strconv.Atoi(fault)
		refuse(w, status, "the text was "+q.Input+" and the key "+r.Header.Get("Authorization"))
		return
	case "REDIRECT":
		http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
		return
	case "PLACEHOLDER": // as a streaming server writes it
		copy(body[4:8], "\xff\xff\xff\xff")
		copy(body[40:44], "\xff\xff\xff\xff")
	}
	switch s.dialect {
	case VLLMOmni:
		w.Header().Set("x-vllm-omni-output-tokens", strconv.Itoa(tokens))
	case SGLangOmni:
		w.Header().Set("X-Finish-Reason", finish)
		w.Header().Set("X-Completion-Tokens", strconv.Itoa(tokens))
	case Generic:
	}
	_, _ = w.Write(body)
}

// endless writes audio until the client has had enough.
func endless(w io.Writer, body []byte) {
	copy(body[40:44], "\xff\xff\xff\xff")
	for {
		if _, err := w.Write(body); err != nil {
			return
		}
		body = body[44:]
		body = append(body[:44:44], body...)
	}
}

// recording writes reference audio of so many seconds and returns its path.
func recording(t *testing.T, seconds float64) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "reference.wav")
	samples := speech(speechRequest{Input: "x"}, 16000)
	for float64(len(samples)) < seconds*16000 {
		samples = append(samples, samples...)
	}
	require.NoError(t, os.WriteFile(path, wav.Encode(16000, samples[:int(seconds*16000)]), 0o600))
	return path
}

// settings returns a configuration for servers of one dialect.
func settings(t *testing.T, servers ...*server) Config {
	t.Helper()
	cfg := Config{
		Dialect: servers[0].dialect, Model: "cosyvoice3", APIKey: config.NewSecret(testKey),
		MaxBatch: 8, MaxAudio: 6 * time.Minute, MinTimeout: 20 * time.Second,
	}
	for _, s := range servers {
		cfg.Backends = append(cfg.Backends, s.URL)
	}
	reference := recording(t, 3)
	switch cfg.Dialect {
	case Generic:
		cfg.Voices = map[string]Voice{"anna": {Name: "alloy", Language: "en", Instructions: "Speak slowly."}}
	case VLLMOmni:
		cfg.Voices = map[string]Voice{"anna": {RefAudio: reference, RefText: "What is said.", Language: "en"}}
	case SGLangOmni:
		cfg.Voices = map[string]Voice{
			"anna": {RefAudio: reference, RefText: "What is said.", Language: "en"},
			"loud": {RefAudio: reference, Instructions: "Speak loudly.", Language: "en"},
		}
	}
	return cfg
}

// open returns the engine of the first backend.
func open(t *testing.T, cfg Config) *Engine {
	t.Helper()
	all, err := New(cfg)
	require.NoError(t, err)
	for _, e := range all {
		t.Cleanup(func() { require.NoError(t, e.Close()) })
	}
	return all[0]
}

func decodeReference(t *testing.T, ref string) []byte {
	t.Helper()
	_, data, ok := strings.Cut(ref, ";base64,")
	require.True(t, ok)
	b, err := base64.StdEncoding.DecodeString(data)
	require.NoError(t, err)
	return b
}
