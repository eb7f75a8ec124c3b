package enginesim

import (
	"cmp"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"math"
	"net/http"
	"strconv"
	"strings"

	"github.com/voicemill/voicemill/platform/wav"
)

const (
	maxRequest = 64 << 20 // bytes, as the references of calls with many texts need
	maxInput   = 4096     // characters
)

// question is the body of POST /v1/audio/speech, as far as it matters here.
type question struct {
	Input          string   `json:"input"`
	Model          string   `json:"model"`
	Voice          string   `json:"voice"`
	ResponseFormat string   `json:"response_format"`
	Speed          *float64 `json:"speed"`
	RefAudio       string   `json:"ref_audio"`
	RefText        string   `json:"ref_text"`
	Instructions   string   `json:"instructions"`
	Stream         bool     `json:"stream"`
	MaxNewTokens   int      `json:"max_new_tokens"`
}

func (s *Sim) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/audio/speech", s.speech)
	mux.HandleFunc("GET /health", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })
	mux.HandleFunc("GET /sim/stats", s.tell)
	mux.HandleFunc("PUT /sim/faults", s.setFaults)
	return mux
}

func (s *Sim) tell(w http.ResponseWriter, _ *http.Request) {
	s.mu.Lock()
	stats := s.stats
	stats.Batches, stats.Faults = maps.Clone(stats.Batches), maps.Clone(stats.Faults)
	stats.Instructed = maps.Clone(stats.Instructed)
	s.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(stats)
}

func (s *Sim) setFaults(w http.ResponseWriter, r *http.Request) {
	var f Faults
	d := json.NewDecoder(io.LimitReader(r.Body, 1<<16))
	d.DisallowUnknownFields()
	err := d.Decode(&f)
	if err = errors.Join(err, f.validate()); err != nil {
		refuse(w, http.StatusBadRequest, err.Error())
		return
	}
	s.mu.Lock()
	s.faults = f
	s.mu.Unlock()
	w.WriteHeader(http.StatusNoContent)
}

func refuse(w http.ResponseWriter, code int, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(map[string]any{"error": map[string]any{"message": message, "code": code}})
}

// rules are what the real servers insist on.
func (s *Sim) rules(q question) string {
	speed := 1.0
	if q.Speed != nil {
		speed = *q.Speed
	}
	omni := s.cfg.Dialect != "generic"
	switch {
	case strings.TrimSpace(q.Input) == "":
		return "input must not be empty"
	case len(q.Input) > 4*maxInput:
		return "input is too long"
	case q.ResponseFormat != "" && q.ResponseFormat != "wav" && q.ResponseFormat != "pcm":
		return "response_format must be wav or pcm"
	case q.Stream:
		return "streaming is not simulated"
	case !(speed >= .25 && speed <= 4):
		return "speed must be between 0.25 and 4"
	case !omni && q.Model == "":
		return "model is required"
	case s.cfg.Dialect == "vllm-omni" && (q.RefAudio == "") != (q.RefText == ""):
		return "ref_audio and ref_text are both required"
	case s.cfg.Dialect == "sglang-omni" && q.RefText != "" && q.Instructions != "":
		return "ref_text and instructions are mutually exclusive"
	case q.RefAudio != "" && !strings.HasPrefix(q.RefAudio, "data:"):
		return "ref_audio must be a data URL"
	}
	return ""
}

func (s *Sim) speech(w http.ResponseWriter, r *http.Request) {
	var q question
	if err := json.NewDecoder(io.LimitReader(r.Body, maxRequest)).Decode(&q); err != nil {
		refuse(w, http.StatusBadRequest, err.Error())
		return
	}
	if message := s.rules(q); message != "" {
		refuse(w, http.StatusBadRequest, message)
		return
	}
	speed := 1.0
	if q.Speed != nil {
		speed = *q.Speed
	}
	instructions := q.Instructions
	if s.cfg.Dialect == "vllm-omni" && q.RefAudio != "" { // CosyVoice3 does not look at the field
		instructions = prompted(q.RefText)
	}
	said, err := s.speak(r.Context(), s.manner(cmp.Or(q.RefAudio, q.Voice), instructions), q.Input, speed)
	switch {
	case errors.Is(err, errMemory):
		refuse(w, http.StatusInternalServerError, err.Error())
		return
	case err != nil: // nobody waits
		panic(http.ErrAbortHandler)
	}
	switch said.fault {
	case Error:
		refuse(w, http.StatusInternalServerError, "Internal Server Error")
	case Busy:
		w.Header().Set("Retry-After", "1")
		refuse(w, http.StatusTooManyRequests, "admission_rejected")
	case Refuse:
		refuse(w, http.StatusBadRequest, "this text is refused")
	default:
		s.answer(w, q, said)
	}
}

// answer writes what was said, or what a fault makes of it.
func (s *Sim) answer(w http.ResponseWriter, q question, said spoken) {
	samples := make([]int16, len(said.samples))
	for i, x := range said.samples {
		samples[i] = int16(math.Round(float64(x) * math.MaxInt16))
	}
	body := wav.Encode(s.cfg.Rate, samples)
	media := "audio/wav"
	if q.ResponseFormat == "pcm" {
		body, media = body[len(body)-2*len(samples):], "audio/pcm"
	}
	switch said.fault {
	case Garbage:
		for i := range body {
			body[i] = byte(i * 167)
		}
	case Count:
		body = nil
	default:
	}
	s.headers(w.Header(), q, said)
	w.Header().Set("Content-Type", media)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	if said.fault == Cut {
		_, _ = w.Write(body[:len(body)/2])
		panic(http.ErrAbortHandler)
	}
	_, _ = w.Write(body)
}

// headers are what the real servers say of their work.
func (s *Sim) headers(h http.Header, q question, said spoken) {
	finish := "stop"
	if said.limited || q.MaxNewTokens > 0 && said.tokens >= q.MaxNewTokens {
		finish = "length"
	}
	switch s.cfg.Dialect {
	case "vllm-omni":
		h.Set("X-Vllm-Omni-Output-Tokens", strconv.Itoa(said.tokens))
	case "sglang-omni":
		h.Set("X-Finish-Reason", finish)
		h.Set("X-Completion-Tokens", strconv.Itoa(said.tokens))
	}
}
