package assemble

import (
	"bytes"
	"cmp"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/worker/internal/readalong"
	"github.com/voicemill/voicemill/worker/internal/store"
	"github.com/voicemill/voicemill/worker/internal/timeline"
)

// Manifest describes the files of a job; docs/manifest.md explains every field.
// It is written as a stream, member by member in this order, so that its size
// does not matter.
type Manifest struct {
	Format   string             `json:"format"` // FormatManifest
	Job      job.ID             `json:"job"`
	State    job.State          `json:"state"`
	Title    string             `json:"title"`
	Language string             `json:"language"`
	Voice    string             `json:"voice"`
	Voices   []ManifestVoice    `json:"voices"`
	Metadata job.Metadata       `json:"metadata"` // what the files say of the book
	Source   *ManifestSource    `json:"source,omitempty"`
	Pauses   job.Pauses         `json:"pauses"`
	Loudness string             `json:"loudness,omitempty"` // the level that was asked for
	Error    *Fault             `json:"error,omitempty"`
	Quality  *job.Quality       `json:"quality,omitempty"` // what hearing the files proved
	Made     Made               `json:"made"`
	Files    []ManifestFile     `json:"files"`
	Along    *ManifestReadAlong `json:"read_along,omitempty"`
	Chapters []ManifestChapter  `json:"chapters"`
	Totals   Totals             `json:"totals"`
	Digests  Digests            `json:"digests"`
}

// FormatManifest names the version of the manifest's form.
const FormatManifest = "voicemill manifest 1"

// Fault says what went wrong.
type Fault struct {
	Kind   string `json:"kind"`
	Detail string `json:"detail"`
}

// Made says how the sound came about.
type Made struct {
	Synthetic bool   `json:"synthetic"` // always: no person spoke
	Version   string `json:"version"`   // of the program that wrote the manifest
}

// ManifestSource is the document that was spoken, as it came.
type ManifestSource struct {
	MediaType string `json:"media_type"`
	Bytes     int64  `json:"bytes"`
	SHA256    string `json:"sha256"`
}

// ManifestFile is a file beside the WAV of the chapters.
type ManifestFile struct {
	Name      string              `json:"name"`
	MediaType string              `json:"media_type"`
	Bytes     int64               `json:"bytes"`
	SHA256    string              `json:"sha256"`
	Loudness  *job.LoudnessReport `json:"loudness,omitempty"`
}

// ManifestReadAlong tells how the book that reads along was made, and how often
// a sentence was not found in it.
type ManifestReadAlong struct {
	File   string `json:"file"`
	Of     string `json:"of"`               // document or text
	Reason string `json:"reason,omitempty"` // why an EPUB was not taken
	readalong.Counts
}

// ManifestVoice is a voice that is heard, and whose it is.
type ManifestVoice struct {
	Name        string `json:"name"`
	Engine      string `json:"engine,omitempty"`
	Licence     string `json:"licence,omitempty"`
	Attribution string `json:"attribution,omitempty"`
}

// ManifestChapter is one chapter and, if it is ready, its audio file.
type ManifestChapter struct {
	Ordinal      int                 `json:"ordinal"`
	Title        string              `json:"title"`
	Matter       string              `json:"matter"`
	State        job.ChapterState    `json:"state"`
	Artifact     string              `json:"artifact,omitempty"`
	SHA256       string              `json:"sha256,omitempty"`
	Bytes        int64               `json:"bytes,omitempty"`
	SampleRate   int                 `json:"sample_rate,omitempty"`
	AudioSamples int64               `json:"audio_samples,omitempty"`
	AudioSeconds float64             `json:"audio_seconds,omitempty"`
	StartSample  int64               `json:"start_sample"`  // in the book, at this chapter's rate
	StartSeconds float64             `json:"start_seconds"` // in the book
	Digest       string              `json:"digest,omitempty"`
	Loudness     *job.LoudnessReport `json:"loudness,omitempty"`
	Error        *Fault              `json:"error,omitempty"`
	Segments     []ManifestPart      `json:"segments"`
}

// ManifestPart is one segment. Samples count from the beginning of its chapter's file.
type ManifestPart struct {
	N            int              `json:"n"`
	State        job.SegmentState `json:"state"`
	Text         string           `json:"text"`
	Voice        string           `json:"voice"`
	Language     string           `json:"language"`
	Source       *Origin          `json:"source,omitempty"`
	StartSample  *int64           `json:"start_sample,omitempty"` // absent if it has no audio
	Samples      int64            `json:"samples,omitempty"`
	BreakAfter   string           `json:"break_after"`
	RenditionKey string           `json:"rendition_key"`
	SHA256       string           `json:"sha256,omitempty"` // of the rendition
	Sentences    []timeline.Mark  `json:"sentences,omitempty"`
	Words        []timeline.Mark  `json:"words,omitempty"`
	WordsBy      string           `json:"words_by,omitempty"` // proportion: no measurement
	Verdict      string           `json:"verdict,omitempty"`  // of the ear, or else of the check
	Heard        *string          `json:"heard,omitempty"`    // absent if it was not heard
	Tries        int              `json:"tries,omitempty"`    // likewise
	Error        *Fault           `json:"error,omitempty"`
}

// Origin is where a segment's text is in the manuscript: a byte range of a document.
type Origin struct {
	Document string `json:"document,omitempty"`
	Start    int64  `json:"start"`
	End      int64  `json:"end"`
}

// Totals sum up a job.
type Totals struct {
	Segments       int     `json:"segments"`
	SegmentsFailed int     `json:"segments_failed"`
	Chapters       int     `json:"chapters"`
	ChaptersReady  int     `json:"chapters_ready"`
	Bytes          int64   `json:"bytes"` // of the chapters' files
	AudioSeconds   float64 `json:"audio_seconds"`
}

// Digests are the completeness proof.
type Digests struct {
	Plan  string `json:"plan"`
	Proof string `json:"proof"`
}

// writeSigned streams the manifest with its signature to w.
func (a *Assembler) writeSigned(ctx context.Context, w io.Writer, j store.Job, end ending, key ed25519.PrivateKey) error {
	h := sha256.New()
	if err := a.writeManifest(ctx, io.MultiWriter(w, h), j, end); err != nil {
		return err
	}
	signature, err := json.Marshal(job.SignManifest(key, h.Sum(nil)))
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "%s%s}\n", job.ManifestSeal, signature)
	return err
}

func source(s store.Source) *ManifestSource {
	if len(s.SHA256) == 0 {
		return nil
	}
	return &ManifestSource{s.MediaType, s.Bytes, hex.EncodeToString(s.SHA256)}
}

// writeManifest streams the manifest of j, which ends as end says, to w, without
// the brace that ends it.
func (a *Assembler) writeManifest(ctx context.Context, w io.Writer, j store.Job, end ending) error {
	m := Manifest{
		Format: FormatManifest, Job: j.ID, State: end.State, Title: j.Title, Language: j.Language, Voice: j.Voice,
		Pauses: j.Pauses, Loudness: j.Loudness, Error: fault(end.ErrorKind, end.ErrorDetail), Quality: end.Quality, Made: Made{Synthetic: true, Version: a.deps.Version}, Source: source(j.Source), Files: make([]ManifestFile, len(end.Files)), Along: end.along,
		Totals:  Totals{Segments: j.SegmentsTotal, SegmentsFailed: j.SegmentsFailed, Chapters: j.ChaptersTotal, ChaptersReady: j.ChaptersReady},
		Digests: Digests{Plan: hex.EncodeToString(j.PlanDigest), Proof: hex.EncodeToString(end.Proof)},
	}
	e, err := a.deps.Store.Encoding(ctx, j.ID)
	if err != nil {
		return err
	}
	m.Metadata, m.Metadata.Cover = e.Metadata, "" // a file tells of the cover, not an upload
	voices, err := a.deps.Store.VoicesOfJob(ctx, j.Num)
	if err != nil {
		return err
	}
	m.Voices = make([]ManifestVoice, len(voices))
	for i, v := range voices {
		m.Voices[i] = ManifestVoice(v)
	}
	for i, f := range end.Files {
		m.Files[i] = ManifestFile{f.Name, f.MediaType, f.Bytes, hex.EncodeToString(f.SHA256), f.Loudness}
	}
	list, err := openList(w, m, "chapters")
	if err != nil {
		return err
	}
	for c, err := range a.chapters(ctx, j.ID) {
		if err != nil {
			return err
		}
		seconds := 0.0
		if c.SampleRate > 0 {
			seconds = float64(c.Samples) / float64(c.SampleRate)
		}
		if err := list.separate(); err != nil {
			return err
		}
		if err := a.writeChapter(ctx, w, j, c, m.Totals.AudioSeconds); err != nil {
			return err
		}
		m.Totals.AudioSeconds += seconds
		m.Totals.Bytes += c.Bytes
	}
	return list.tail(struct {
		Totals  Totals  `json:"totals"`
		Digests Digests `json:"digests"`
	}{m.Totals, m.Digests})
}

func fault(kind, detail string) *Fault {
	if kind == "" {
		return nil
	}
	return &Fault{kind, detail}
}

func (a *Assembler) writeChapter(ctx context.Context, w io.Writer, j store.Job, c store.FinalChapter, startSeconds float64) error {
	mc := ManifestChapter{
		Ordinal: c.Ordinal, Title: c.Title, Matter: c.Matter, State: c.State, StartSeconds: startSeconds,
		StartSample: timeline.NewLayout(c.SampleRate, job.Pauses{}).Samples(startSeconds), Error: fault(c.ErrorKind, c.ErrorDetail),
	}
	ready := c.State == job.ChapterReady
	if ready {
		mc.Artifact, mc.SHA256, mc.Bytes = c.Artifact, hex.EncodeToString(c.SHA256), c.Bytes
		mc.SampleRate, mc.AudioSamples = c.SampleRate, c.Samples
		mc.AudioSeconds = float64(c.Samples) / float64(c.SampleRate)
		mc.Loudness = c.Loudness
		mc.Digest = hex.EncodeToString(c.Proof)
	}
	list, err := openList(w, mc, "segments")
	if err != nil {
		return err
	}
	for p, err := range a.placed(ctx, j, c) {
		if err != nil {
			return err
		}
		if err := list.add(part(p)); err != nil {
			return err
		}
	}
	return list.close()
}

// part describes one segment.
func part(g placed) ManifestPart {
	p := ManifestPart{
		N: g.N, State: g.State, Text: g.Text, Voice: g.Voice, Language: g.Language, BreakAfter: g.BreakAfter,
		RenditionKey: g.RenditionKey, Error: fault(g.ErrorKind, g.ErrorDetail),
	}
	if g.SourceEnd > g.SourceStart {
		p.Source = &Origin{g.SourceDocument, g.SourceStart, g.SourceEnd}
	}
	if g.State != job.SegmentFailed {
		p.Error = nil // of an attempt before the one that went well
	}
	if g.sounds {
		p.StartSample, p.Samples, p.SHA256 = &g.start, g.Samples, hex.EncodeToString(g.SHA256)
		p.Verdict = g.Verdict
		if h := g.Hearing; h != nil {
			p.Verdict, p.Heard, p.Tries = cmp.Or(h.Kind, p.Verdict), &h.Heard, h.Tries
		}
		p.Sentences, p.Words, p.WordsBy = g.marks.Sentences, g.marks.Words, g.marks.WordsBy
	}
	return p
}

// list writes one JSON object whose member list is streamed: everything that
// precedes the list in head, the elements, and what follows.
type list struct {
	w     io.Writer
	comma bool
}

// openList writes head up to the opening bracket of its empty member name.
func openList(w io.Writer, head any, name string) (*list, error) {
	raw, err := json.Marshal(head)
	if err != nil {
		return nil, err
	}
	before, _, ok := bytes.Cut(raw, []byte(`"`+name+`":null`))
	if !ok {
		panic("bug: no empty member " + name)
	}
	_, err = fmt.Fprintf(w, "%s\"%s\":[", before, name)
	return &list{w: w}, err
}

// separate begins an element that the caller writes.
func (l *list) separate() error {
	sep := "\n"
	if l.comma {
		sep = ",\n"
	}
	l.comma = true
	_, err := io.WriteString(l.w, sep)
	return err
}

func (l *list) add(v any) error {
	if err := l.separate(); err != nil {
		return err
	}
	raw, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = l.w.Write(raw)
	return err
}

// close ends the list and the object.
func (l *list) close() error {
	_, err := io.WriteString(l.w, "]}")
	return err
}

// tail ends the list, and writes the members of v behind it. The object stays open.
func (l *list) tail(v any) error {
	raw, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(l.w, "],%s", raw[1:len(raw)-1])
	return err
}
