package synth

import (
	"cmp"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/worker/internal/deliver"
	"github.com/voicemill/voicemill/worker/internal/engine"
)

// seedStep sets the seeds of attempts apart; any odd number does.
const seedStep = 7_919

// said is how a part of a segment's text sounds, as the plan wrote it: in
// phonemes, or as other words.
type said struct {
	Start    int    `json:"start"`
	End      int    `json:"end"`
	Alphabet string `json:"alphabet"`
	Phonemes string `json:"phonemes"`
	Alias    string `json:"alias"`
}

// request is what the engine is asked for t; the spelling leads from the text that
// it is asked to speak back to the segment's.
func request(t deliver.Task) (engine.Request, spelling, error) {
	w, b := t.Segment, t.Bundle
	req := engine.Request{
		ID: fmt.Sprintf("%s-%d", b.JobID, w.N), Text: w.Text, Voice: w.Voice, Language: w.Language, Speed: b.Speed, Instructions: cmp.Or(w.Instructions, b.Instructions),
		// The same seed would meet the same failure again.
		Seed: b.Seed + int64(b.Charged()-1)*seedStep, Seconds: w.PredictedSeconds,
	}
	if len(w.Pronunciations) == 0 || string(w.Pronunciations) == "null" {
		return req, nil, nil
	}
	fault := func(err error) (engine.Request, spelling, error) {
		return req, nil, &job.Error{Op: "synth.request", JobID: b.JobID, Kind: job.Internal, Err: fmt.Errorf("pronunciations of segment %d: %w", w.N, err)}
	}
	var list []said
	if err := json.Unmarshal(w.Pronunciations, &list); err != nil {
		return fault(err)
	}
	end := 0
	for _, p := range list {
		if p.Start < end || p.End <= p.Start || p.End > len(w.Text) {
			return fault(fmt.Errorf("bytes %d to %d do not fit", p.Start, p.End))
		}
		end = p.End
	}
	var s spelling
	req.Text, req.Pronunciations, s = spell(w.Text, list)
	return req, s, nil
}

// A stretch is a part of a text that was replaced: bytes from..to of the new
// text stand for bytes start..end of the old one.
type stretch struct{ from, to, start, end int }

// spelling is every stretch of a text, in order; nil if nothing was replaced.
type spelling []stretch

// spell writes aliases into the text and moves the phonemes along.
func spell(text string, list []said) (string, []engine.Pronunciation, spelling) {
	var b strings.Builder
	var phonemes []engine.Pronunciation
	var s spelling
	at := 0
	for _, p := range list {
		b.WriteString(text[at:p.Start])
		at = p.End
		from := b.Len()
		if p.Phonemes == "" && p.Alias != "" {
			b.WriteString(p.Alias)
			s = append(s, stretch{from, b.Len(), p.Start, p.End})
			continue
		}
		b.WriteString(text[p.Start:p.End])
		if p.Phonemes != "" {
			phonemes = append(phonemes, engine.Pronunciation{Start: from, End: b.Len(), Alphabet: p.Alphabet, Phonemes: p.Phonemes})
		}
	}
	b.WriteString(text[at:])
	return b.String(), phonemes, s
}

// restore turns the byte ranges of marks into ranges of the segment's own
// text. A mark within a replaced part stands for all of it.
func (s spelling) restore(marks []engine.Mark) {
	if s == nil {
		return
	}
	for i := range marks {
		marks[i].Start, _ = s.old(marks[i].Start)
		_, marks[i].End = s.old(marks[i].End - 1)
		marks[i].End++
	}
}

// old returns where the byte at i of the new text is in the old one: the first
// and the last byte of what was replaced, or twice the same place.
func (s spelling) old(i int) (first, last int) {
	shift := 0
	for _, r := range s {
		if i < r.from {
			break
		}
		if i < r.to {
			return r.start, r.end - 1
		}
		shift = r.end - r.to
	}
	return i + shift, i + shift
}
