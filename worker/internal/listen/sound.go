package listen

import "math"

// Span is a word that was heard, and when: seconds from the beginning of the audio.
type Span struct {
	Text       string
	Start, End float64
}

// frame is the time over which loudness is measured, and quiet what is no speech.
const (
	frameSeconds = 0.02
	quiet        = 0.01 // RMS of full scale 1: -40 dBFS
)

// Sound is the loudness of a piece of audio, frame by frame.
type Sound []bool

// NewSound measures mono samples at rate Hz.
func NewSound(samples []int16, rate int) Sound {
	n := int(frameSeconds * float64(rate))
	if n < 1 {
		return nil
	}
	s := make(Sound, 0, len(samples)/n)
	for ; len(samples) >= n; samples = samples[n:] {
		sum := 0.0
		for _, v := range samples[:n] {
			sum += float64(v) * float64(v)
		}
		s = append(s, math.Sqrt(sum/float64(n))/-math.MinInt16 > quiet)
	}
	return s
}

// loud returns how many seconds of sound there are between two times.
func (s Sound) loud(from, to float64) float64 {
	n := 0
	for i := max(0, int(from/frameSeconds)); i < min(len(s), int(math.Ceil(to/frameSeconds))); i++ {
		if s[i] {
			n++
		}
	}
	return float64(n) * frameSeconds
}

// Seconds returns the time from the first sound to the last.
func (s Sound) Seconds() float64 {
	first, last := -1, -1
	for i, loud := range s {
		if loud && first < 0 {
			first = i
		}
		if loud {
			last = i
		}
	}
	if first < 0 {
		return 0
	}
	return float64(last-first+1) * frameSeconds
}

// Audible returns the words of heard that there is sound for: recognisers invent some
// on silence. Times that make no sense keep their words.
func (s Sound) Audible(heard []Span) []Span {
	kept := make([]Span, 0, len(heard))
	for _, w := range heard {
		if w.End > w.Start && s.loud(w.Start-leeway, w.End+leeway) == 0 {
			continue
		}
		kept = append(kept, w)
	}
	return kept
}

// leeway is how far the times of recognisers are off.
const leeway = 0.2

// longestWord returns how long a word can sound; a recogniser that skips something
// stretches the word before or behind it.
func longestWord(text string) float64 { return 0.4 + 0.11*float64(len([]rune(text))) }

// Unheard returns the most sound, in seconds, in one gap between the words that were
// heard, before the first, or behind the last. Without times it is 0.
func (s Sound) Unheard(heard []Span) float64 {
	end, most := 0.0, 0.0
	for _, w := range heard {
		if w.End <= w.Start {
			return 0
		}
		most = max(most, s.loud(end+leeway, w.Start-leeway))
		end = min(w.End, w.Start+longestWord(w.Text))
	}
	return max(most, s.loud(end+leeway, float64(len(s))*frameSeconds))
}
