package engine

import (
	"fmt"
	"math"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/voicemill/voicemill/job"
)

// The speeds that every engine accepts; a backend may narrow them.
const (
	MinSpeed = 0.25
	MaxSpeed = 4
)

// Check returns an Invalid *job.Error that names the first fault of r, or nil.
// Drivers call it before they spend anything on r.
func (r Request) Check(maxTextBytes int) error {
	fault := r.fault(maxTextBytes)
	if fault == "" {
		return nil
	}
	return &job.Error{Op: "engine.Check", Kind: job.Invalid, Public: fault}
}

func (r Request) fault(maxTextBytes int) string {
	switch {
	case len(r.Text) > maxTextBytes:
		return fmt.Sprintf("The text has %d bytes; at most %d can be spoken at once.", len(r.Text), maxTextBytes)
	case !utf8.ValidString(r.Text):
		return "The text is not valid UTF-8."
	case strings.TrimSpace(r.Text) == "":
		return "There is no text to speak."
	case !utf8.ValidString(r.Instructions):
		return "The instructions are not valid UTF-8."
	case r.Speed != 0 && !(r.Speed >= MinSpeed && r.Speed <= MaxSpeed): // NaN fails both
		return fmt.Sprintf("The speed is %g; it must be between %g and %d.", r.Speed, MinSpeed, MaxSpeed)
	case math.IsNaN(r.Seconds) || math.IsInf(r.Seconds, 0) || r.Seconds < 0:
		return fmt.Sprintf("The predicted length is %g seconds.", r.Seconds)
	}
	end := 0
	for _, p := range r.Pronunciations {
		if p.Start < end || p.End <= p.Start || p.End > len(r.Text) || !boundary(r.Text, p.Start) || !boundary(r.Text, p.End) {
			return fmt.Sprintf("The pronunciation of bytes %d to %d does not fit the text.", p.Start, p.End)
		}
		end = p.End
	}
	return ""
}

func boundary(s string, i int) bool { return i == len(s) || utf8.RuneStart(s[i]) }

// CheckVoice returns an Invalid *job.Error if r has instructions and v, which is to speak
// it, takes none.
func (r Request) CheckVoice(v Voice) error {
	if r.Instructions == "" || v.Instructions {
		return nil
	}
	return &job.Error{Op: "engine.CheckVoice", Kind: job.Invalid, Public: fmt.Sprintf("The voice %q takes no instructions.", v.Name)}
}

// Pace returns r.Speed, or 1 when it is not set.
func (r Request) Pace() float64 {
	if r.Speed == 0 {
		return 1
	}
	return r.Speed
}

// Speakable reports whether r.Text has a letter or a digit, so that silence
// would be a wrong answer to it.
func (r Request) Speakable() bool {
	return strings.ContainsFunc(r.Text, func(c rune) bool { return unicode.IsLetter(c) || unicode.IsNumber(c) })
}

// Expected returns r.Seconds, or a generous guess from the length of the text
// when that is not known.
func (r Request) Expected() float64 {
	if r.Seconds > 0 {
		return r.Seconds
	}
	const slowest = 4 // characters a second, in scripts where one is a syllable
	return float64(utf8.RuneCountInString(r.Text)) / slowest / r.Pace()
}

// PickVoice returns the index of the voice r asks for: the one it names, else
// the first whose language fits r's best, else one that speaks any language.
// fallback names the voice for a request with neither voice nor language. ok is
// false if nothing fits.
func (r Request) PickVoice(voices []Voice, fallback string) (index int, ok bool) {
	if r.Voice != "" {
		return find(voices, func(v Voice) bool { return v.Name == r.Voice })
	}
	for tag := r.Language; tag != ""; tag = parentTag(tag) {
		if i, ok := find(voices, func(v Voice) bool { return strings.EqualFold(v.Language, tag) }); ok {
			return i, true
		}
		base := tag + "-"
		if i, ok := find(voices, func(v Voice) bool {
			return len(v.Language) > len(base) && strings.EqualFold(v.Language[:len(base)], base)
		}); ok {
			return i, true
		}
	}
	if r.Language == "" {
		if i, ok := find(voices, func(v Voice) bool { return v.Name == fallback }); ok {
			return i, true
		}
	}
	return find(voices, func(v Voice) bool { return v.Language == "" })
}

func find(voices []Voice, match func(Voice) bool) (int, bool) {
	for i, v := range voices {
		if match(v) {
			return i, true
		}
	}
	return 0, false
}

// parentTag removes the last subtag: zh-Hant-TW, zh-Hant, zh, nothing.
func parentTag(tag string) string {
	i := strings.LastIndexByte(tag, '-')
	if i < 0 {
		return ""
	}
	return tag[:i]
}
