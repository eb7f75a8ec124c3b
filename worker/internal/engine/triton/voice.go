package triton

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"maps"
	"math"
	"os"
	"slices"

	"github.com/voicemill/voicemill/platform/resample"
	"github.com/voicemill/voicemill/platform/wav"
	"github.com/voicemill/voicemill/worker/internal/engine"
)

const (
	refRate                      = 16000 // what the model hears
	minRefSeconds, maxRefSeconds = 1, 30
	maxRefBytes                  = 32 << 20
	padSamples                   = 10 * refRate // references are padded to multiples of it
)

// reference is a Voice made ready to be sent.
type reference struct {
	samples int    // without the padding
	padded  []byte // float32, little-endian, as many samples as padSamples goes into
	text    []byte // as an element of a BYTES tensor
	said    string // the same
}

// prepare reads the recordings of the voices. The public voices are in the order of
// their names.
func (c Config) prepare() ([]engine.Voice, map[string]reference, error) {
	public := make([]engine.Voice, 0, len(c.Voices))
	ready := make(map[string]reference, len(c.Voices))
	same := map[string]string{} // transcript to fingerprint, both without what instructions replace
	for _, name := range slices.Sorted(maps.Keys(c.Voices)) {
		v := c.Voices[name]
		r, err := readReference(v)
		if err != nil {
			return nil, nil, fmt.Errorf("voice %q: %w", name, err)
		}
		key, keyed := v.RefText, r
		if c.Instructions { // those of a request come in place of the transcript's own
			key = engine.WithoutPrompt(key)
			keyed.text = element(key)
		}
		if other, ok := same[key]; ok && other != keyed.fingerprint() {
			return nil, nil, fmt.Errorf("voice %q: has the reference text of another voice, and the server tells voices apart by that alone: both would sound like one", name)
		}
		same[key] = keyed.fingerprint()
		public = append(public, engine.Voice{Name: name, Language: v.Language, Fingerprint: r.fingerprint(), Instructions: c.Instructions})
		ready[name] = r
	}
	return public, ready, nil
}

func readReference(v Voice) (reference, error) {
	info, err := os.Stat(v.RefAudio)
	if err != nil {
		return reference{}, fmt.Errorf("reference audio: %w", err)
	}
	if info.Size() == 0 || info.Size() > maxRefBytes {
		return reference{}, fmt.Errorf("reference audio %s has %d bytes; want 1 to %d", v.RefAudio, info.Size(), maxRefBytes)
	}
	b, err := os.ReadFile(v.RefAudio)
	if err != nil {
		return reference{}, fmt.Errorf("reference audio: %w", err)
	}
	rate, samples, err := wav.Decode(bytes.NewReader(b), maxRefBytes)
	if err != nil {
		return reference{}, fmt.Errorf("reference audio %s: want a WAV file: %w", v.RefAudio, err)
	}
	if seconds := float64(len(samples)) / float64(rate); seconds < minRefSeconds || seconds > maxRefSeconds {
		return reference{}, fmt.Errorf("reference audio %s lasts %.1f s; want %d to %d s", v.RefAudio, seconds, minRefSeconds, maxRefSeconds)
	}
	if rate < refRate {
		return reference{}, fmt.Errorf("reference audio %s has %d Hz; want at least %d", v.RefAudio, rate, refRate)
	}
	r, err := resample.New(rate, refRate)
	if err != nil {
		return reference{}, fmt.Errorf("reference audio %s: %w", v.RefAudio, err)
	}
	return newReference(r.Resample(nil, samples), v.RefText), nil
}

func newReference(samples []int16, text string) reference {
	padded := (len(samples) + padSamples - 1) / padSamples * padSamples
	r := reference{samples: len(samples), padded: make([]byte, 4*padded), text: element(text), said: text}
	for i, s := range samples {
		binary.LittleEndian.PutUint32(r.padded[4*i:], math.Float32bits(float32(s)/32768))
	}
	return r
}

// instructed returns r with instructions how to speak.
func (r reference) instructed(instructions string) reference {
	if instructions != "" {
		r.text = element(engine.CosyPrompt(instructions, r.said))
	}
	return r
}

func (r reference) fingerprint() string {
	h := sha256.New()
	h.Write(r.text)
	h.Write(r.padded[:4*r.samples])
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// element is s in a BYTES tensor: its length and it.
func element(s string) []byte {
	return append(binary.LittleEndian.AppendUint32(nil, uint32(len(s))), s...) //nolint:gosec // a text of a segment
}
