package libsherpa

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"runtime"
	"slices"

	"github.com/voicemill/voicemill/worker/internal/engine/espeak/libespeak"
	"github.com/voicemill/voicemill/worker/internal/engine/helper/serve"
	"github.com/voicemill/voicemill/worker/internal/engine/helper/wire"
	"github.com/voicemill/voicemill/worker/internal/engine/neural/ask"
	"github.com/voicemill/voicemill/worker/internal/engine/neural/phoneme"
)

// pauseSeconds is the silence between two sentences of one text: models say each by
// itself, with hardly any.
const pauseSeconds = 0.25

// Serve loads the model, says hello on out and answers requests from in until in
// ends or ctx is done, which is not an error; see [serve.Loop].
func Serve(ctx context.Context, m ask.Model, in *serve.Input[ask.Request], out io.Writer) (err error) {
	// espeak-ng is not made for several threads; it sees only this one.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	s := &speaker{model: m}
	defer func() { err = errors.Join(err, s.close()) }()
	return serve.Loop(ctx, s, in, out)
}

// speaker serves one model.
type speaker struct {
	model    ask.Model
	library  *library
	phonemes *libespeak.Phonemes
	spelling *spelling // nil if the family reads texts itself
	samples  []int16   // of the sentence before
}

var _ serve.Library[ask.Request] = (*speaker)(nil)

// Hello implements serve.Library.
func (s *speaker) Hello() (hello wire.Hello, err error) {
	m := s.model
	if len(m.Blends) > 0 {
		blended, err := blend(m)
		if err != nil {
			return hello, err
		}
		defer func() { err = errors.Join(err, os.Remove(blended)) }()
		m.Files["voices"] = blended
	}
	if tokens := m.Files["tokens"]; tokens != "" {
		if s.spelling, err = readSpelling(m.Family, tokens); err != nil {
			return hello, err
		}
	}
	said := ""
	if s.spelling != nil {
		s.phonemes, err = libespeak.OpenPhonemes(libespeak.Config{Library: m.Espeak, DataPath: m.EspeakData})
		if err != nil {
			return hello, err
		}
		said = ", espeak-ng " + s.phonemes.Version()
	}
	if s.library, err = open(m); err != nil {
		return hello, err
	}
	return wire.Hello{Rate: s.library.rate, Library: "sherpa-onnx " + s.library.version() + said}, nil
}

func (s *speaker) close() error {
	if s.library != nil && s.library.tts != 0 {
		s.library.destroy(s.library.tts)
	}
	if s.phonemes != nil {
		return s.phonemes.Close()
	}
	return nil
}

// Speak implements serve.Library.
func (s *speaker) Speak(r ask.Request, out *serve.Sink) error {
	if n := int(s.library.numSpeakers(s.library.tts)); r.Speaker < 0 || n > 0 && r.Speaker >= n {
		return &serve.RefusedError{Code: wire.CodeVoice, Detail: fmt.Sprintf("the model has %d speakers, and no number %d", n, r.Speaker)}
	}
	speed := s.speed(r)
	pause := make([]int16, int(pauseSeconds*float64(s.library.rate)))
	for i, sentence := range r.Sentences {
		parts, err := s.write(r.Espeak, sentence)
		if err != nil {
			return &serve.RefusedError{Code: wire.CodeVoice, Detail: err.Error()}
		}
		if len(parts) == 0 {
			continue // nothing in it can be said
		}
		if out.Count() > 0 && !out.Samples(pause) {
			return nil
		}
		begin := out.Count()
		for _, part := range parts {
			if s.samples, err = s.library.speak(s.samples[:0], part, r.Speaker, speed); err != nil {
				return &serve.RefusedError{Code: wire.CodeSynth, Detail: err.Error()}
			}
			if !out.Samples(s.samples) {
				return nil
			}
		}
		out.Event(wire.Event{Kind: wire.EventSentence, Position: uint32(i + 1), Sample: begin}) //nolint:gosec // a handful
	}
	return nil
}

// speed returns the speed of r with the take that its seed chooses: prepared models
// of Piper's look for it between the points of a grid of length scales.
func (s *speaker) speed(r ask.Request) float64 {
	if s.model.Family != "piper" {
		return r.Speed
	}
	take := uint64(r.Seed) % takes //nolint:gosec // any bits do
	return takeGrid / (math.Round(takeGrid/r.Speed) + float64(take)/takes)
}

// The takes of package prepare, which a helper does not link.
const (
	takeGrid = 4096
	takes    = 256
)

// write returns what the library is told for one sentence, in as many parts as are
// short enough for it.
func (s *speaker) write(voice string, sentence ask.Sentence) ([]utterance, error) {
	if s.spelling == nil {
		return plain(sentence), nil
	}
	var symbols []int32
	for _, c := range sentence.Clauses {
		for _, p := range c.Pieces {
			ipa := phoneme.FromIPA(p.IPA)
			if p.IPA == "" {
				var err error
				if ipa, err = s.phonemes.IPA(voice, p.Text, phoneme.Tie); err != nil {
					return nil, err
				}
			}
			symbols = s.spelling.word(symbols, ipa, voice)
		}
		symbols = s.spelling.end(symbols, c.End)
	}
	var parts []utterance
	for _, part := range s.spelling.cut(symbols) {
		parts = append(parts, utterance{symbols: part})
	}
	return parts, nil
}

// Renew implements serve.Library.
func (s *speaker) Renew() error { return nil }

// MaxSamples implements serve.Library.
func (s *speaker) MaxSamples() int64 { return int64(s.model.MaxSeconds) * int64(s.library.rate) }

// A style of Kokoro's: a row for every count of tokens.
const styleFloats = 510 * 256

// blend writes the styles of m with those of its blends in their places, and
// returns where.
func blend(m ask.Model) (path string, err error) {
	raw, err := os.ReadFile(m.Files["voices"])
	if err != nil {
		return "", err
	}
	speakers := len(raw) / (4 * styleFloats)
	styles := make([]float32, speakers*styleFloats)
	for i := range styles {
		styles[i] = math.Float32frombits(binary.LittleEndian.Uint32(raw[4*i:]))
	}
	for _, b := range m.Blends {
		if b.Place < 0 || b.Place >= speakers {
			return "", fmt.Errorf("there is no place %d for a blend among %d", b.Place, speakers)
		}
		mixed := make([]float32, styleFloats)
		for _, p := range b.Parts {
			if p.Speaker < 0 || p.Speaker >= speakers {
				return "", fmt.Errorf("there is no speaker %d among %d", p.Speaker, speakers)
			}
			for i, v := range styles[p.Speaker*styleFloats : (p.Speaker+1)*styleFloats] {
				mixed[i] += float32(p.Weight) * v
			}
		}
		for i, v := range mixed {
			binary.LittleEndian.PutUint32(raw[4*(b.Place*styleFloats+i):], math.Float32bits(v))
		}
	}
	f, err := os.CreateTemp("", "voicemill-voices-")
	if err != nil {
		return "", err
	}
	_, err = f.Write(raw)
	return f.Name(), errors.Join(err, f.Close())
}

// plain returns the text of a sentence for a family that reads texts itself.
func plain(s ask.Sentence) []utterance {
	var text []byte
	for _, c := range s.Clauses {
		for _, p := range c.Pieces {
			text = append(text, p.Text...)
		}
		text = append(append(text, c.End...), ' ')
	}
	if len(text) == 0 || slices.Equal(text, []byte(" ")) {
		return nil
	}
	return []utterance{{text: string(text)}}
}
