package hear

import (
	"context"
	"encoding/hex"
	"log/slog"
	"maps"
	"math"
	"strings"
	"sync"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/worker/internal/engine"
	"github.com/voicemill/voicemill/worker/internal/listen"
	"github.com/voicemill/voicemill/worker/internal/meter"
	"github.com/voicemill/voicemill/worker/internal/recur"
)

// Spoken is a segment that an engine spoke.
type Spoken struct {
	Pool, Voice, Language string
	Text                  string  // that was to be spoken
	Speed                 float64 // 0 counts as 1
	Instructions          string  // how it was to be spoken
	Seconds               float64 // predicted; 0: not known
	Audio                 engine.Audio
}

// Heard is what came of hearing a segment. Its zero value is one that was not heard.
type Heard struct {
	*job.Hearing // nil if it was not heard; its Tries are the caller's

	errors float64 // share of characters that differ
}

// Doubtful reports whether other words were heard than were to be spoken.
func (h Heard) Doubtful() bool { return h.Hearing != nil && h.Kind != "" }

// Better reports whether h is to be kept rather than other. What was heard is better
// than what was not.
func (h Heard) Better(other Heard) bool {
	switch {
	case h.Hearing == nil || other.Hearing == nil:
		return h.Hearing != nil
	case h.Doubtful() != other.Doubtful():
		return !h.Doubtful()
	}
	return h.errors < other.errors
}

// Chooses reports whether the segment with a rendition key, in hex, is one of those
// that are heard of a job that has a sample heard. It is always the same ones.
func (e *Ears) Chooses(key string) bool {
	var raw [2]byte
	if len(key) < 4 {
		return true
	}
	if _, err := hex.Decode(raw[:], []byte(key[:4])); err != nil {
		return true
	}
	return float64(int(raw[0])<<8|int(raw[1])) < e.cfg.Share*(math.MaxUint16+1)
}

// Hear has s heard, as far as an ear is well, and judged.
func (e *Ears) Hear(ctx context.Context, s Spoken) Heard {
	sound := listen.NewSound(s.Audio.Samples, s.Audio.Rate)
	var words []listen.Span
	if sound.Seconds() > 0 { // recognisers invent words on silence
		t, err := e.transcript(ctx, s.Audio, s.Language)
		if err != nil {
			e.cfg.Meter.Verdict(s.Pool, meter.Unheard)
			e.cfg.Log.DebugContext(ctx, "a segment goes unheard", slog.String("error", err.Error()))
			return Heard{}
		}
		words = sound.Audible(t.Words)
	}
	h := e.voices.judge(s, sound, words, recur.Twice(s.Audio.Samples, s.Audio.Rate, s.Text))
	e.cfg.Meter.Verdict(s.Pool, h.Kind)
	return h
}

// Wrong returns the share of the characters of r that differ from what is heard in audio,
// 0 if it is heard as it is written. Nothing is learned from it. An error says that no ear
// heard it.
func (e *Ears) Wrong(ctx context.Context, r engine.Request, audio engine.Audio) (share float64, err error) {
	sound := listen.NewSound(audio.Samples, audio.Rate)
	var words []listen.Span
	if sound.Seconds() > 0 { // recognisers invent words on silence
		t, err := e.transcript(ctx, audio, r.Language)
		if err != nil {
			return 0, err
		}
		words = sound.Audible(t.Words)
	}
	return listen.Evidence{
		Report: listen.Compare(listen.Tokens(r.Language, r.Text), listen.Tokens(r.Language, texts(words)), nil),
	}.CER(), nil
}

// texts of words, as they were heard.
func texts(words []listen.Span) string {
	all := make([]string, len(words))
	for i, w := range words {
		all[i] = w.Text
	}
	return strings.Join(all, " ")
}

// maxVoices is how many histories are kept; then those with instructions are forgotten, or
// else all.
const maxVoices = 500

type speaker struct {
	voice, language, instructions string
	speed                         float64
}

// histories are what is known of voices. The zero value is ready; it is safe for
// concurrent use.
type histories struct {
	mu     sync.Mutex
	voices map[speaker]*history // under mu
}

type history struct {
	mu sync.Mutex
	listen.History
}

func (h *histories) of(s Spoken) *history {
	key := speaker{s.Voice, s.Language, s.Instructions, s.Speed}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.voices == nil {
		h.voices = map[speaker]*history{}
	}
	if h.voices[key] == nil {
		h.makeRoomLocked()
		h.voices[key] = &history{}
	}
	return h.voices[key]
}

// makeRoomLocked forgets histories if there are too many. Instructions are free text and make a
// history each: they cost no voice without any what is known of it.
func (h *histories) makeRoomLocked() {
	if len(h.voices) >= maxVoices {
		maps.DeleteFunc(h.voices, func(s speaker, _ *history) bool { return s.instructions != "" })
	}
	if len(h.voices) >= maxVoices {
		clear(h.voices)
	}
}

// judge holds what was heard against the text, and learns from what is good.
func (h *histories) judge(s Spoken, sound listen.Sound, words []listen.Span, twice float64) Heard {
	past := h.of(s)
	past.mu.Lock()
	defer past.mu.Unlock()
	heard := texts(words)
	evidence := listen.Evidence{
		Report:  listen.Compare(listen.Tokens(s.Language, s.Text), listen.Tokens(s.Language, heard), past.Pardoned),
		Seconds: sound.Seconds(), Predicted: s.Seconds, Unheard: sound.Unheard(words), Twice: twice,
	}
	verdict := past.Limits(listen.DefaultLimits()).Judge(evidence, past.Pace())
	if verdict.Fault == listen.None {
		past.Add(evidence)
	}
	return Heard{
		Hearing: &job.Hearing{
			Kind: string(verdict.Fault), Why: verdict.Why, Words: evidence.Words, Errors: evidence.WordErrors, Heard: job.Clip(heard), Tries: 1,
		},
		errors: evidence.CER(),
	}
}
