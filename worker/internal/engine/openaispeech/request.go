package openaispeech

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math"

	"github.com/voicemill/voicemill/worker/internal/engine"
)

// tokensPerSecond is CosyVoice3's rate of speech tokens.
const tokensPerSecond = 25

// Bounds of max_new_tokens: a few words need room, and 2048 is what the models
// were trained for and the servers default to.
const (
	minNewTokens = 128
	maxNewTokens = 2048
)

// speechRequest is the body of POST /v1/audio/speech. A field that is empty is
// not sent.
type speechRequest struct {
	Input          string  `json:"input"`
	Model          string  `json:"model,omitempty"`
	Voice          string  `json:"voice,omitempty"`
	ResponseFormat string  `json:"response_format"`
	Speed          float64 `json:"speed,omitempty"`
	Instructions   string  `json:"instructions,omitempty"`

	// The rest is for the omni dialects.
	Stream       *bool  `json:"stream,omitempty"`
	Language     string `json:"language,omitempty"`
	Seed         *int64 `json:"seed,omitempty"`
	RefAudio     string `json:"ref_audio,omitempty"`
	RefText      string `json:"ref_text,omitempty"`
	MaxNewTokens int    `json:"max_new_tokens,omitempty"`
}

// body returns the JSON for r in voice v, and the most tokens it allows, 0 if it
// does not say.
func (c Config) body(r *engine.Request, v voice) ([]byte, int, error) {
	s := speechRequest{
		Input:          r.Text,
		Model:          c.Model,
		Voice:          v.Name,
		ResponseFormat: "wav",
		Instructions:   cmp.Or(r.Instructions, v.Instructions),
	}
	if r.Pace() != 1 {
		s.Speed = r.Pace()
	}
	if c.omni() {
		s.Stream = new(bool)
		s.Language = r.Language
		if s.Language == "" {
			s.Language = v.Language
		}
		s.Seed = &r.Seed
		s.RefAudio, s.RefText = v.refAudio, v.RefText
		c.instruct(&s, r.Instructions)
		// Three times the prediction is what the judgement of the audio allows; speed
		// is applied to the audio afterwards, so tokens are as many as at normal speed.
		tokens := 3 * r.Expected() * r.Pace() * tokensPerSecond
		s.MaxNewTokens = int(min(max(math.Ceil(tokens), minNewTokens), maxNewTokens))
	}
	b, err := json.Marshal(s)
	if err != nil {
		return nil, 0, fmt.Errorf("encode request: %w", err)
	}
	return b, s.MaxNewTokens, nil
}

// instruct puts the instructions of a request beside a reference where the dialect reads
// them: vLLM-Omni's CosyVoice3 before the transcript only, and SGLang-Omni in place of it.
func (c Config) instruct(s *speechRequest, instructions string) {
	if instructions == "" || s.RefAudio == "" {
		return
	}
	switch c.Dialect {
	case VLLMOmni:
		s.Instructions, s.RefText = "", engine.CosyPrompt(instructions, s.RefText)
	case SGLangOmni:
		s.RefText = ""
	case Generic: // knows no references
	}
}
