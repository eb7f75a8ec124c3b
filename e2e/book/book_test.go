package book_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-audio/wav"
	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/api/jobdoc"
	"github.com/voicemill/voicemill/e2e/internal/caller"
	"github.com/voicemill/voicemill/e2e/internal/stage"
	"github.com/voicemill/voicemill/job"
)

var bin string // the folder with the built commands

func TestMain(m *testing.M) { os.Exit(stage.Main(m, &bin)) }

const testLimit = 4 * time.Minute

func TestManifestsAgreeWithTheAudioToTheSample(t *testing.T) {
	t.Parallel()
	all, err := manuscripts()
	require.NoError(t, err)
	solo := stage.NewSolo(t, bin, stage.SoloConfig{})
	call := caller.New(t, solo)
	t.Run("documents", func(t *testing.T) { // returns when all are done
		for name, m := range all {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				ctx, cancel := context.WithTimeout(t.Context(), testLimit)
				defer cancel()
				var b *audiobook
				if m.media == job.MediaEPUB {
					b = byCommand(ctx, t, solo, call, m)
				} else {
					b = byHTTP(ctx, t, call, m)
				}
				b.data = solo.Data
				b.check(ctx, t, call, m)
			})
		}
	})
}

// audiobook is a finished job with its files.
type audiobook struct {
	doc   jobdoc.Document
	files map[string][]byte
	data  string // the server's data directory
	man   manifest
}

// byCommand hands m in and fetches the files as a user of the command does.
func byCommand(ctx context.Context, t *testing.T, solo *stage.Solo, call *caller.Caller, m manuscript) *audiobook {
	t.Helper()
	// The command tries again while no voice has been offered yet.
	dir := t.TempDir()
	path, out := filepath.Join(dir, "book.epub"), filepath.Join(dir, "out")
	require.NoError(t, os.WriteFile(path, m.data, 0o600))
	seconds := func(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }
	code, stdout, stderr, err := solo.Command(ctx, "submit", path, "--wait", "--pause-sentence", seconds(m.pauses.Sentence),
		"--pause-paragraph", seconds(m.pauses.Paragraph), "--pause-chapter", seconds(m.pauses.Chapter))
	require.NoError(t, err)
	require.Zero(t, code, "%s\n%s", stdout, stderr)
	id, _, _ := strings.Cut(stdout, "\n")
	code, stdout, stderr, err = solo.Command(ctx, "get", id, "--out", out)
	require.NoError(t, err)
	require.Zero(t, code, "%s\n%s", stdout, stderr)
	b := &audiobook{files: map[string][]byte{}}
	b.doc, err = call.Job(ctx, id)
	require.NoError(t, err)
	entries, err := os.ReadDir(out)
	require.NoError(t, err)
	for _, e := range entries {
		b.files[e.Name()], err = os.ReadFile(filepath.Join(out, e.Name()))
		require.NoError(t, err)
	}
	return b
}

func byHTTP(ctx context.Context, t *testing.T, call *caller.Caller, m manuscript) *audiobook {
	t.Helper()
	input := map[string]any{"media_type": m.media, "text": string(m.data)}
	if m.segments != nil {
		input = map[string]any{"segments": m.segments}
	}
	doc, err := call.Submit(ctx, t.Name(), map[string]any{
		"input": input, "language": "en",
		"output": map[string]any{"pauses": map[string]any{"sentence": m.pauses.Sentence, "paragraph": m.pauses.Paragraph, "chapter": m.pauses.Chapter}},
	})
	require.NoError(t, err)
	b := &audiobook{files: map[string][]byte{}}
	b.doc, err = call.Await(ctx, string(doc.ID))
	require.NoError(t, err)
	for _, a := range b.doc.Artifacts {
		b.files[a.Name], err = call.Artifact(ctx, string(doc.ID), a.Name)
		require.NoError(t, err)
	}
	return b
}

// manifest is manifest.json as a stranger reads it.
type manifest struct {
	Format, Job, State, Title, Language, Voice string
	Pauses                                     job.Pauses
	Chapters                                   []chapter
	Totals                                     struct {
		Segments       int
		SegmentsFailed int `json:"segments_failed"`
		Chapters       int
		ChaptersReady  int `json:"chapters_ready"`
		Bytes          int64
		AudioSeconds   float64 `json:"audio_seconds"`
	}
	Digests struct{ Plan, Proof string }
}

type chapter struct {
	Ordinal                                int
	Title, State, Artifact, SHA256, Digest string
	Bytes                                  int64
	SampleRate                             int     `json:"sample_rate"`
	AudioSamples                           int     `json:"audio_samples"`
	AudioSeconds                           float64 `json:"audio_seconds"`
	StartSample                            int     `json:"start_sample"`
	StartSeconds                           float64 `json:"start_seconds"`
	Segments                               []segment
}

type segment struct {
	N                            int
	State, Text, Voice, Language string
	Source                       *caller.Source
	StartSample                  *int `json:"start_sample"`
	Samples                      int
	BreakAfter                   string `json:"break_after"`
	RenditionKey                 string `json:"rendition_key"`
	SHA256                       string
	Sentences, Words             [][3]int
	Verdict                      string
	Heard                        *string
	Tries                        int
}

// check holds everything about a finished job against everything else.
func (b *audiobook) check(ctx context.Context, t *testing.T, call *caller.Caller, m manuscript) {
	t.Helper()
	require.Equal(t, job.StateSucceeded, b.doc.State, "%+v", b.doc.Error)
	b.checkFiles(t)
	require.NoError(t, json.Unmarshal(b.files["manifest.json"], &b.man))
	require.Equal(t, string(b.doc.ID), b.man.Job)
	require.Equal(t, "succeeded", b.man.State)
	require.Equal(t, m.pauses, b.man.Pauses)
	require.Len(t, b.man.Chapters, len(m.chapters))

	listed, err := call.Segments(ctx, string(b.doc.ID))
	require.NoError(t, err)
	keys, n, start, seconds, bytes := sha256.New(), 0, 0, 0.0, int64(0)
	for i, c := range b.man.Chapters {
		require.Equal(t, i+1, c.Ordinal)
		require.Equal(t, m.chapters[i].title, c.Title)
		require.Equal(t, "ready", c.State)
		require.Equal(t, start, c.StartSample)
		require.InDelta(t, seconds, c.StartSeconds, 1e-6)
		b.checkText(t, m, c, m.chapters[i].words)
		b.checkAudio(t, c)
		b.checkDocument(t, b.doc.Chapters[i], c)
		requireFFprobeAgrees(ctx, t, c, b.files[c.Artifact])
		require.Equal(t, c.Digest, order(c), "chapter %d", c.Ordinal)
		field(keys, c.Digest)
		for j, s := range c.Segments {
			n++
			require.Equal(t, n, s.N)
			require.GreaterOrEqual(t, len(listed), n)
			requireListed(t, listed[n-1], c, c.Segments[j])
		}
		start, seconds, bytes = start+c.AudioSamples, seconds+c.AudioSeconds, bytes+c.Bytes
	}
	require.Len(t, listed, n)
	require.Equal(t, n, b.man.Totals.Segments)
	require.Zero(t, b.man.Totals.SegmentsFailed)
	require.Equal(t, len(m.chapters), b.man.Totals.ChaptersReady)
	require.Equal(t, bytes, b.man.Totals.Bytes)
	require.InDelta(t, seconds, b.man.Totals.AudioSeconds, 1e-6)
	require.InDelta(t, seconds, b.doc.Progress.AudioSeconds+b.pauses(), 1e-3)
	require.Equal(t, hex.EncodeToString(keys.Sum(nil)), b.man.Digests.Plan)
	require.Equal(t, b.man.Digests.Plan, b.man.Digests.Proof)
}

// pauses returns the seconds of silence between and after the segments.
func (b *audiobook) pauses() float64 {
	all := 0.0
	for _, c := range b.man.Chapters {
		spoken := 0
		for _, s := range c.Segments {
			spoken += s.Samples
		}
		all += float64(c.AudioSamples-spoken) / float64(c.SampleRate)
	}
	return all
}

// checkFiles holds the files against the job document.
func (b *audiobook) checkFiles(t *testing.T) {
	t.Helper()
	require.Len(t, b.files, len(b.doc.Artifacts))
	for _, a := range b.doc.Artifacts {
		data, ok := b.files[a.Name]
		require.True(t, ok, "there is no %s", a.Name)
		require.Len(t, data, int(a.Bytes), a.Name)
		require.Equal(t, a.SHA256, digest(data), a.Name)
	}
}

func (b *audiobook) checkDocument(t *testing.T, d jobdoc.Chapter, c chapter) {
	t.Helper()
	require.Equal(t, c.Artifact, d.Artifact)
	require.Equal(t, c.Title, d.Title)
	require.InDelta(t, c.AudioSeconds, d.AudioSeconds, 1e-6)
	data := b.files[c.Artifact]
	require.Len(t, data, int(c.Bytes))
	require.Equal(t, c.SHA256, digest(data))
}

// checkText holds the segments of a chapter against the document, and the times
// of words and sentences against the segments.
func (b *audiobook) checkText(t *testing.T, m manuscript, c chapter, want string) {
	t.Helper()
	var texts []string
	last := map[string]int64{}
	for _, s := range c.Segments {
		texts = append(texts, s.Text)
		requireMarks(t, s, s.Sentences)
		requireMarks(t, s, s.Words)
		require.NotEmpty(t, s.Words, "segment %d has no times", s.N)
		if m.segments != nil {
			require.Equal(t, m.segments[s.N-1]["text"], s.Text)
			continue
		}
		require.NotNil(t, s.Source, "segment %d", s.N)
		source, err := m.document(s.Source.Document)
		require.NoError(t, err)
		require.LessOrEqual(t, last[s.Source.Document], s.Source.Start, "segment %d overlaps the one before in its source", s.N)
		require.Less(t, s.Source.Start, s.Source.End)
		require.LessOrEqual(t, s.Source.End, int64(len(source)))
		last[s.Source.Document] = s.Source.End
		require.Equal(t, s.Text, m.readable(source[s.Source.Start:s.Source.End]), "segment %d", s.N)
	}
	require.Equal(t, folded(want), folded(strings.Join(texts, " ")), "chapter %d", c.Ordinal)
}

// requireMarks checks that marks lie within their segment, in order.
func requireMarks(t *testing.T, s segment, marks [][3]int) {
	t.Helper()
	text, at := 0, *s.StartSample
	for _, mark := range marks {
		require.LessOrEqual(t, text, mark[0], "segment %d: %v", s.N, marks)
		require.Less(t, mark[0], mark[1], "segment %d: %v", s.N, marks)
		require.LessOrEqual(t, mark[1], len(s.Text), "segment %d: %v", s.N, marks)
		require.LessOrEqual(t, at, mark[2], "segment %d: %v", s.N, marks)
		require.Less(t, mark[2], *s.StartSample+s.Samples, "segment %d: %v", s.N, marks)
		text, at = mark[0], mark[2]
	}
}

// checkAudio reads the chapter's file and every rendition in it with a parser
// that is not ours and compares them sample by sample.
func (b *audiobook) checkAudio(t *testing.T, c chapter) {
	t.Helper()
	audio := parse(t, b.files[c.Artifact], c.SampleRate)
	require.Len(t, audio, c.AudioSamples)
	require.InDelta(t, float64(len(audio))/float64(c.SampleRate), c.AudioSeconds, 1e-9)
	at, pause := 0, 0.0
	for i, s := range c.Segments {
		gap := 0
		if i > 0 {
			gap = samples(pause, c.SampleRate)
		}
		require.NotNil(t, s.StartSample, "segment %d", s.N)
		require.Equal(t, at+gap, *s.StartSample, "segment %d begins elsewhere", s.N)
		requireSilence(t, audio[at:at+gap], "before segment %d", s.N)
		raw, err := os.ReadFile(filepath.Join(b.data, "s3", "objects", "voicemill", "renditions", "default", s.RenditionKey[:2], s.RenditionKey+".wav"))
		require.NoError(t, err)
		require.Equal(t, s.SHA256, digest(raw))
		rendition := parse(t, raw, c.SampleRate)
		require.Len(t, rendition, s.Samples, "segment %d", s.N)
		require.Equal(t, rendition, audio[*s.StartSample:*s.StartSample+s.Samples], "segment %d sounds otherwise in its chapter", s.N)
		require.True(t, audible(rendition), "segment %d is silent", s.N)
		at, pause = *s.StartSample+s.Samples, b.pause(s.BreakAfter)
	}
	require.Len(t, audio[at:], samples(b.man.Pauses.Chapter, c.SampleRate))
	requireSilence(t, audio[at:], "after the last segment of chapter %d", c.Ordinal)
}

func (b *audiobook) pause(breakAfter string) float64 {
	switch breakAfter {
	case "sentence":
		return b.man.Pauses.Sentence
	case "paragraph":
		return b.man.Pauses.Paragraph
	case "chapter":
		return b.man.Pauses.Chapter
	}
	return 0
}

func samples(seconds float64, rate int) int { return int(math.Round(seconds * float64(rate))) }

func parse(t *testing.T, file []byte, rate int) []int {
	t.Helper()
	d := wav.NewDecoder(bytes.NewReader(file))
	require.True(t, d.IsValidFile())
	buf, err := d.FullPCMBuffer()
	require.NoError(t, err)
	require.Equal(t, rate, buf.Format.SampleRate)
	require.Equal(t, 1, buf.Format.NumChannels)
	require.Equal(t, 16, buf.SourceBitDepth)
	return buf.Data
}

func requireSilence(t *testing.T, audio []int, format string, args ...any) {
	t.Helper()
	for i, v := range audio {
		if v != 0 {
			require.Failf(t, "there is sound in a pause", "%s: sample %d of %d is %d", fmt.Sprintf(format, args...), i, len(audio), v)
		}
	}
}

func audible(audio []int) bool {
	for _, v := range audio {
		if v > 1000 || v < -1000 {
			return true
		}
	}
	return false
}

func requireListed(t *testing.T, got caller.Segment, c chapter, s segment) {
	t.Helper()
	require.Equal(t, s.N, got.N)
	require.Equal(t, c.Ordinal, got.Chapter)
	require.Equal(t, s.Text, got.Text)
	require.Equal(t, s.Voice, got.Voice)
	require.Equal(t, s.Language, got.Language)
	require.Equal(t, s.State, got.State)
	require.Equal(t, s.Source, got.Source)
	require.InDelta(t, float64(s.Samples)/float64(c.SampleRate), got.AudioSeconds, 1e-6)
}

// requireFFprobeAgrees asks ffprobe what a file is and how long.
func requireFFprobeAgrees(ctx context.Context, t *testing.T, c chapter, file []byte) {
	t.Helper()
	path := filepath.Join(t.TempDir(), c.Artifact)
	require.NoError(t, os.WriteFile(path, file, 0o600))
	out, err := exec.CommandContext(ctx, "ffprobe", "-v", "error", "-of", "json", "-show_streams", path).CombinedOutput()
	require.NoError(t, err, "%s", out)
	var probe struct {
		Streams []struct {
			Codec    string `json:"codec_name"`
			Rate     string `json:"sample_rate"`
			Channels int
			Duration string
		}
	}
	require.NoError(t, json.Unmarshal(out, &probe), "%s", out) // a warning is no JSON
	require.Len(t, probe.Streams, 1)
	s := probe.Streams[0]
	require.Equal(t, "pcm_s16le", s.Codec)
	require.Equal(t, strconv.Itoa(c.SampleRate), s.Rate)
	require.Equal(t, 1, s.Channels)
	seconds, err := strconv.ParseFloat(s.Duration, 64)
	require.NoError(t, err)
	require.InDelta(t, c.AudioSamples, seconds*float64(c.SampleRate), 1)
}

// order is the digest of a chapter, computed from its definition: the SHA-256
// over the rendition keys, each after its length in four bytes.
func order(c chapter) string {
	h := sha256.New()
	for _, s := range c.Segments {
		field(h, s.RenditionKey)
	}
	return hex.EncodeToString(h.Sum(nil))
}

func field(h interface{ Write([]byte) (int, error) }, s string) {
	_, _ = h.Write(binary.BigEndian.AppendUint32(nil, uint32(len(s)))) //nolint:gosec // short
	_, _ = h.Write([]byte(s))
}

func digest(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}
