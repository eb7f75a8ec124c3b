package transcribe_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/worker/internal/engine"
	"github.com/voicemill/voicemill/worker/internal/engine/enginetest"
	"github.com/voicemill/voicemill/worker/internal/engine/neural"
	"github.com/voicemill/voicemill/worker/internal/listen"
	"github.com/voicemill/voicemill/worker/internal/listen/transcribe"
)

// The faults that are planted.
const (
	clean   = "clean"
	cut     = "cut at 60 %"
	doubled = "doubled stretch"
	another = "another segment's"
	leftOut = "sentence left out"
	silence = "silence"
	runaway = "runaway"
)

var planted = []string{cut, doubled, another, leftOut, silence, runaway}

// trial is one piece of audio with what is known of it.
type trial struct {
	Book, Fault, Text, Heard string
	listen.Evidence
}

// BenchmarkPlantedFaults has a neural voice speak segments of some books, plants faults,
// and has the ear hear all of it. The limits come from the clean segments of the first
// book, if they are enough; what they find is reported of each. `make bench-ear` runs it.
func BenchmarkPlantedFaults(b *testing.B) {
	books, err := filepath.Glob(filepath.Join(os.Getenv("VOICEMILL_EAR_BOOKS"), "*.txt"))
	require.NoError(b, err)
	if len(books) == 0 {
		b.Skip("VOICEMILL_EAR_BOOKS is no folder of texts; use make bench-ear")
	}
	size, err := strconv.Atoi(os.Getenv("VOICEMILL_EAR_SEGMENTS"))
	require.NoError(b, err)
	for b.Loop() {
		ear, end := realEar(b)
		speaker := voice(b, "joe")
		var all []trial
		seconds := 0.0
		for _, book := range books {
			trials, heard := tryBook(b, ear, speaker, book, size)
			all, seconds = append(all, trials...), seconds+heard
		}
		b.ReportMetric(end()/seconds, "cpu-s/audio-s")
		report(b, all, strings.TrimSuffix(filepath.Base(books[0]), ".txt"))
	}
}

// tryBook returns the trials of one book and the seconds of audio that were heard for them.
func tryBook(b *testing.B, ear *transcribe.Ear, speaker *neural.Engine, path string, size int) (all []trial, seconds float64) {
	b.Helper()
	book := strings.TrimSuffix(filepath.Base(path), ".txt")
	texts := segments(b, path, size)
	said, heard := make([]engine.Audio, size), make([]hearing, size)
	listening := func(audio engine.Audio) hearing {
		seconds += audio.Seconds()
		return hear(b, ear, audio)
	}
	for i, text := range texts {
		said[i] = say(b, speaker, enginetest.Request(text))
		heard[i] = listening(said[i])
	}
	for i, text := range texts {
		note := func(fault string, h hearing) {
			e := h.evidence(text)
			e.Predicted = float64(len(text))
			all = append(all, trial{Book: book, Fault: fault, Text: text, Heard: h.text(), Evidence: e})
			keep(b, all[len(all)-1])
		}
		s, r := said[i].Samples, said[i].Rate
		n := len(s)
		note(clean, heard[i])
		note(another, heard[(i+1)%size])
		note(leftOut, listening(say(b, speaker, enginetest.Request(text[sentence.FindStringIndex(text)[1]:]))))
		note(silence, listening(engine.Audio{Rate: r, Samples: make([]int16, n)}))
		note(cut, listening(engine.Audio{Rate: r, Samples: s[:n*6/10]}))
		note(doubled, listening(engine.Audio{Rate: r, Samples: slices.Concat(s[:n*7/10], s[n*4/10:])}))
		note(runaway, listening(engine.Audio{Rate: r, Samples: slices.Concat(s, slices.Repeat(s[max(0, n-2*r):], 4))}))
	}
	return all, seconds
}

// keep adds t to the file VOICEMILL_EAR_TRIALS, a line of JSON each, if that is set.
func keep(b *testing.B, t trial) {
	b.Helper()
	path := os.Getenv("VOICEMILL_EAR_TRIALS")
	if path == "" {
		return
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600) //nolint:gosec // the caller's own
	require.NoError(b, err)
	require.NoError(b, errors.Join(json.NewEncoder(f).Encode(t), f.Close()))
}

var sentence = regexp.MustCompile(`[.!?][”"’')]* +`)

// segments returns size segments of a book, spread over it: paragraphs of two sentences
// or more, shortened to what a segment may have.
func segments(b *testing.B, path string, size int) []string {
	b.Helper()
	raw, err := os.ReadFile(path) //nolint:gosec // the caller's own
	require.NoError(b, err)
	var all []string
	for p := range strings.SplitSeq(string(raw), "\n\n") {
		p = strings.Join(strings.Fields(p), " ")
		ends := sentence.FindAllStringIndex(p+" ", -1)
		text := ""
		for _, e := range ends {
			if e[1] > 260 {
				break
			}
			text = strings.TrimSpace((p + " ")[:e[1]])
		}
		if first := sentence.FindStringIndex(text + " "); first != nil && first[1] >= 25 && len(text)-first[1] >= 25 {
			all = append(all, text)
		}
	}
	require.GreaterOrEqual(b, len(all), size, path)
	spread := make([]string, size)
	for i := range spread {
		spread[i] = all[i*len(all)/size]
	}
	return spread
}

// report learns the limits from the book called first and prints what they find in all.
func report(b *testing.B, all []trial, first string) {
	b.Helper()
	var h listen.History
	for _, t := range all {
		if t.Book == first && t.Fault == clean {
			h.Add(t.Evidence)
		}
	}
	limits, pace := h.Limits(listen.DefaultLimits()), h.Pace()
	fmt.Printf("\nlimits after %s: %+v, pace %.4f\n", first, limits, pace)
	for _, name := range books(all) {
		line := name
		for _, fault := range append([]string{clean}, planted...) {
			condemned, of, errors, words := 0, 0, 0, 0
			for _, t := range all {
				if t.Book != name || t.Fault != fault {
					continue
				}
				of++
				errors, words = errors+t.WordErrors, words+t.Words
				if limits.Judge(t.Evidence, pace).Fault != listen.None {
					condemned++
				}
			}
			line += fmt.Sprintf(", %s %d/%d", fault, condemned, of)
			if fault == clean {
				line += fmt.Sprintf(" (WER %.3f)", float64(errors)/math.Max(1, float64(words)))
			}
		}
		fmt.Println(line)
	}
}

func books(all []trial) (names []string) {
	for _, t := range all {
		if !slices.Contains(names, t.Book) {
			names = append(names, t.Book)
		}
	}
	return names
}
