package neural

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/voicemill/voicemill/platform/weights"
	"github.com/voicemill/voicemill/worker/internal/engine"
	"github.com/voicemill/voicemill/worker/internal/engine/neural/ask"
)

// voice is what a helper is told of a public voice.
type voice struct {
	speaker int
	espeak  string
}

// voices returns the voices of m with the configured ones, and the blends among
// these. A configured name replaces one of the model's.
func (c Config) voices(m weights.Installed) (public []engine.Voice, native map[string]voice, blends []ask.Blend, err error) {
	native = map[string]voice{}
	add := func(name, language, sound string, v voice) {
		public = slices.DeleteFunc(public, func(known engine.Voice) bool { return known.Name == name })
		public = append(public, engine.Voice{Name: name, Language: language, Fingerprint: sound, Licence: m.Licence, Attribution: m.Attribution})
		native[name] = v
	}
	taken := map[int]bool{}
	for _, v := range m.Voices {
		add(v.Name, v.Language, v.Name, voice{v.Speaker, v.Espeak})
		taken[v.Speaker] = true
	}
	for _, name := range slices.Sorted(maps.Keys(c.Voices)) {
		parts, first, err := parseBlend(c.Voices[name], m)
		if err != nil {
			return nil, nil, nil, fmt.Errorf("voice %q: %w", name, err)
		}
		speaker := parts[0].Speaker
		if len(parts) > 1 {
			if speaker = freePlace(len(m.Speakers), taken); speaker < 0 {
				return nil, nil, nil, fmt.Errorf("voice %q: model %s has no more places for blends", name, m.Name)
			}
			taken[speaker] = true
			blends = append(blends, ask.Blend{Place: speaker, Parts: parts})
		}
		add(name, first.Language, c.Voices[name], voice{speaker, first.Espeak})
	}
	return public, native, blends, nil
}

// freePlace returns the number of a speaker that no voice uses, -1 if there is none.
func freePlace(speakers int, taken map[int]bool) int {
	for n := speakers - 1; n >= 0; n-- {
		if !taken[n] {
			return n
		}
	}
	return -1
}

var blendPart = regexp.MustCompile(`^([A-Za-z0-9_-]+)(?:\(([0-9.]+)\))?$`)

// parseBlend reads "af_bella(2)+af_sky(1)": voices of m and how much there is of each;
// nothing is 1. The language is that of the first.
func parseBlend(text string, m weights.Installed) (parts []ask.Part, first weights.Voice, err error) {
	sum := 0.0
	for i, one := range strings.Split(text, "+") {
		match := blendPart.FindStringSubmatch(strings.TrimSpace(one))
		if match == nil {
			return nil, first, fmt.Errorf("%q is no blend; want one like af_bella(2)+af_sky(1)", text)
		}
		at := slices.IndexFunc(m.Voices, func(v weights.Voice) bool { return v.Name == match[1] })
		if at < 0 {
			return nil, first, fmt.Errorf("model %s has no voice %q", m.Name, match[1])
		}
		weight := 1.0
		if match[2] != "" {
			if weight, err = strconv.ParseFloat(match[2], 64); err != nil {
				return nil, first, fmt.Errorf("%q is no blend: %w", text, err)
			}
		}
		if i == 0 {
			first = m.Voices[at]
		}
		parts = append(parts, ask.Part{Speaker: m.Voices[at].Speaker, Weight: weight})
		sum += weight
	}
	if !(sum > 0) || math.IsInf(sum, 0) {
		return nil, first, errors.New("a blend needs weights that are more than 0 together")
	}
	for i := range parts {
		parts[i].Weight /= sum
	}
	if len(parts) > 1 && len(m.Speakers) == 0 {
		return nil, first, fmt.Errorf("the voices of model %s cannot be blended", m.Name)
	}
	return parts, first, nil
}
