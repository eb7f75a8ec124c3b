package book_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/e2e/internal/caller"
	"github.com/voicemill/voicemill/e2e/internal/stage"
	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/testkit"
	"github.com/voicemill/voicemill/platform/testkit/weightstest"
)

const (
	firstVoice  = "joe"
	secondVoice = "af_heart" // of Kokoro
	worstShown  = 10
	mostErrors  = .15 // word error rate
	fewHeard    = 20  // words, without VOICEMILL_HEARD_BOOK
	story       = "../../worker/internal/listen/transcribe/testdata/ferry.md"
)

// TestABookIsHeardBack has a neural voice speak a book, the ear hear every segment of
// it, and reports how much was heard otherwise than it is written; of the worst segments
// with evidence of whose fault that is. VOICEMILL_HEARD_BOOK is the book, a file of text
// or an EPUB, VOICEMILL_HEARD_WORDS how much of it, VOICEMILL_HEARD_REPORT where the
// report goes, too; `make bench-book-heard` sets them. Without a book it is the beginning
// of a story.
func TestABookIsHeardBack(t *testing.T) {
	book, words, limit := theBook(t)
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	voices := []string{firstVoice}
	if book != story && weightstest.Has("kokoro") { // in a short test a second engine takes longer to start than all the rest
		voices = append(voices, "kokoro")
	}
	models := weightstest.Need(t, append(voices, "whisper-base")...).Dir()
	listener := weightstest.Ear(t)
	solo := stage.NewSolo(t, bin, stage.SoloConfig{Env: []string{"VOICEMILL_MODELS_DIR=" + models, "VOICEMILL_EAR_DIR=" + listener}})
	b := &heardBook{call: caller.New(t, solo), ear: listener, models: models}

	begun := time.Now()
	upload, err := b.call.Upload(ctx, job.MediaMarkdown, []byte(heardText(t, book, words)))
	require.NoError(t, err)
	b.read(ctx, t, map[string]any{
		"input": map[string]any{"upload": upload, "media_type": job.MediaMarkdown}, "language": "en", "class": "bulk",
		"voice": firstVoice, "verify": "all",
	})
	took := time.Since(begun)
	q := b.doc.Quality
	require.Equal(t, job.StateSucceeded, b.doc.State)
	require.Equal(t, q.Segments, q.Heard, "every segment is heard")
	require.Equal(t, b.doc.Progress.Segments.Total, q.Segments)

	report := fmt.Sprintf("%d segments, %d words, %.0f s of audio in %.0f s; the program took %d MB at its peak\n"+
		"word error rate by the ear %.4f (%d of %d), %d segments spoken more than once, %d doubtful\n",
		q.Segments, q.Words, b.doc.Progress.AudioSeconds, took.Seconds(), testkit.PeakMemory(t, solo.PID())>>20,
		q.WordErrorRate, q.WordErrors, q.Words, q.Redone, q.Doubtful)
	report += b.worst(ctx, t)
	t.Log("\n" + report)
	if path := os.Getenv("VOICEMILL_HEARD_REPORT"); path != "" {
		require.NoError(t, os.WriteFile(path, []byte(report), 0o600))
	}
	require.Less(t, q.WordErrorRate, mostErrors)
}

// theBook returns the file to read, how many words of it, and how long that may take.
func theBook(t *testing.T) (path string, words int, limit time.Duration) {
	t.Helper()
	path = os.Getenv("VOICEMILL_HEARD_BOOK")
	if path == "" {
		return story, fewHeard, testLimit
	}
	words, err := strconv.Atoi(os.Getenv("VOICEMILL_HEARD_WORDS"))
	require.NoError(t, err)
	return path, words, 10 * time.Hour
}

// heardText returns the beginning of a book in whole paragraphs, limit words or a few more.
func heardText(t *testing.T, path string, limit int) string {
	t.Helper()
	raw, err := os.ReadFile(path) //nolint:gosec // of whoever runs the test
	if filepath.Ext(path) == ".epub" {
		raw, err = exec.CommandContext(t.Context(), "pandoc", "-t", "plain", "--wrap=none", path).Output() //nolint:gosec // likewise
	}
	require.NoError(t, err)
	var text strings.Builder
	words := 0
	for p := range strings.SplitSeq(string(raw), "\n\n") {
		if words >= limit {
			break
		}
		p = strings.Join(strings.Fields(p), " ")
		words += len(strings.Fields(p))
		text.WriteString(plainMarkdown.Replace(p) + "\n\n")
	}
	return text.String()
}

// plainMarkdown keeps what pandoc writes for print from being read as marks.
var plainMarkdown = strings.NewReplacer("_", "", "*", "", "#", "", "[", "", "]", "", "<", "", ">", "", "`", "'", "\\", "")

// heardBook is a book that was heard back.
type heardBook struct {
	audiobook
	call        *caller.Caller
	ear, models string // folders
}

// read has spec spoken and fetches what came of it.
func (b *heardBook) read(ctx context.Context, t *testing.T, spec map[string]any) {
	t.Helper()
	doc, err := b.call.Submit(ctx, "", spec)
	require.NoError(t, err)
	b.doc, err = b.call.Await(ctx, string(doc.ID))
	require.NoError(t, err)
	raw, err := b.call.Artifact(ctx, string(doc.ID), "manifest.json")
	require.NoError(t, err)
	b.man = manifest{}
	require.NoError(t, json.Unmarshal(raw, &b.man))
}

// worst reports the segments of which most was heard otherwise.
func (b *heardBook) worst(ctx context.Context, t *testing.T) string {
	t.Helper()
	type bad struct {
		segment
		chapter chapter
		errors  int
	}
	var all []bad
	for _, c := range b.man.Chapters {
		for _, s := range c.Segments {
			require.NotNil(t, s.Heard, "segment %d", s.N)
			if n := heardErrors(s.Text, *s.Heard); n > 0 {
				all = append(all, bad{s, c, n})
			}
		}
	}
	sort.SliceStable(all, func(i, j int) bool {
		if (all[i].Verdict != "") != (all[j].Verdict != "") {
			return all[i].Verdict != ""
		}
		return all[i].errors > all[j].errors
	})
	if all = all[:min(len(all), worstShown)]; len(all) == 0 {
		return "every word was heard as it is written\n"
	}
	texts := make([]string, len(all))
	for i, s := range all {
		texts[i] = s.Text
	}
	others := b.bySecondVoice(ctx, t, texts)
	second := newListener(t, b.ear, b.models)
	var report strings.Builder
	for i, s := range all {
		again := second.hear(ctx, t, b.cut(ctx, t, s.chapter, s.segment))
		e := evidence{text: s.Text, heard: *s.Heard, again: again, other: others[i]}
		fmt.Fprintf(&report, "\n%d. segment %d, verdict %q, %d words otherwise after %d tries: %s\n", i+1, s.N, s.Verdict, s.errors, s.Tries, e.whose())
		fmt.Fprintf(&report, "   text:         %s\n   heard:        %s\n   decoded again: %s\n   other voice:  %s\n   phonemes:     %s\n",
			s.Text, e.heard, e.again, e.other, phonemes(ctx, t, s.Text))
	}
	return report.String()
}

// bySecondVoice returns what the ear hears in texts when another voice speaks them; empty
// if it is not installed.
func (b *heardBook) bySecondVoice(ctx context.Context, t *testing.T, texts []string) []string {
	t.Helper()
	heard := make([]string, len(texts))
	if _, err := os.Stat(filepath.Join(b.models, "kokoro")); err != nil {
		t.Log("No second voice speaks: that needs a book and Kokoro, which scripts/setup voices installs")
		return heard
	}
	parts := make([]map[string]any, len(texts))
	for i, text := range texts {
		parts[i] = map[string]any{"text": text}
	}
	other := heardBook{call: b.call}
	other.read(ctx, t, map[string]any{
		"input": map[string]any{"segments": parts}, "language": "en", "voice": secondVoice, "verify": "all", "on_doubt": "deliver",
	})
	var i int
	for _, c := range other.man.Chapters {
		for _, s := range c.Segments {
			require.NotNil(t, s.Heard)
			heard[i] = *s.Heard
			i++
		}
	}
	return heard
}

// cut returns the audio of s as a WAV.
func (b *heardBook) cut(ctx context.Context, t *testing.T, c chapter, s segment) []byte {
	t.Helper()
	if b.files == nil {
		b.files = map[string][]byte{}
	}
	if b.files[c.Artifact] == nil {
		var err error
		b.files[c.Artifact], err = b.call.Artifact(ctx, string(b.doc.ID), c.Artifact)
		require.NoError(t, err)
	}
	require.NotNil(t, s.StartSample)
	seconds := func(samples int) string {
		return strconv.FormatFloat(float64(samples)/float64(c.SampleRate), 'f', 4, 64)
	}
	cmd := exec.CommandContext(ctx, "ffmpeg", "-v", "error", "-i", "-", "-ss", seconds(*s.StartSample), "-t", seconds(s.Samples), "-f", "wav", "-") //nolint:gosec // numbers
	cmd.Stdin = bytes.NewReader(b.files[c.Artifact])
	out, err := cmd.Output()
	require.NoError(t, err)
	return out
}

// phonemes returns how espeak-ng says text, which is what the voices get.
func phonemes(ctx context.Context, t *testing.T, text string) string {
	t.Helper()
	cmd := exec.CommandContext(ctx, "espeak-ng", "-q", "--ipa", "-v", "en-us")
	cmd.Stdin = strings.NewReader(text)
	out, err := cmd.Output()
	require.NoError(t, err)
	return strings.Join(strings.Fields(string(out)), " ")
}
