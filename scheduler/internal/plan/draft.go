package plan

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"strings"
	"unicode/utf8"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/scheduler/internal/manuscript"
	"github.com/voicemill/voicemill/scheduler/internal/store"
)

// draft reads one job.
type draft struct {
	claim  store.Claim
	limits job.Limits
	cast   *cast
	next   int // number of the next segment
	count  int // chapters so far
}

// read opens the input of a claim and returns the plan. Its chapters are made
// while they are taken; an error in them is a *job.Error. r holds the upload
// and is nil for inline input. ctx bounds the reading of the chapters too.
func read(ctx context.Context, claim store.Claim, casting *Casting, limits job.Limits, r io.ReaderAt, size int64) (store.Plan, error) {
	claim.Spec.Normalize() // the gateway has done it; a stored spec may be older than a default
	d := &draft{claim: claim, limits: limits, next: 1}
	p := store.Plan{
		ID: claim.ID, Num: claim.Num, Attempt: claim.Attempt, Tenant: claim.Tenant, Class: claim.Class, Callback: claim.Spec.Callback,
	}
	if casting.Empty() {
		return p, &job.Error{Op: "plan.read", JobID: claim.ID, Kind: job.Unavailable, Public: "No worker has offered a voice yet."}
	}
	opts := manuscript.Options{
		Language: claim.Spec.Language, MaxSegmentSeconds: limits.SegmentSeconds,
		CharsPerSecond: func(lang string) float64 { return manuscript.CharsPerSecond(lang) * claim.Spec.Speed },
	}
	if claim.Spec.Input.Segments != nil {
		return d.segments(ctx, p, casting, opts)
	}
	if r == nil {
		r, size = strings.NewReader(claim.Spec.Input.Text), int64(len(claim.Spec.Input.Text))
	}
	doc, err := manuscript.Open(ctx, r, size, claim.Spec.Input.Media, opts)
	if err != nil {
		return p, err
	}
	p.Title, p.Language = clip(doc.Title), doc.Language
	if d.cast, err = casting.forJob(claim.Spec.Voice, doc.Language); err != nil {
		return p, err
	}
	p.Chapters = d.document(ctx, doc)
	return p, nil
}

// document yields the chapters of a manuscript.
func (d *draft) document(ctx context.Context, doc *manuscript.Document) iter.Seq2[*store.Chapter, error] {
	return func(yield func(*store.Chapter, error) bool) {
		for ch, err := range doc.Chapters() {
			if err == nil && ctx.Err() != nil {
				err = &job.Error{Op: "plan.document", JobID: d.claim.ID, Kind: job.Unavailable, Err: context.Cause(ctx)}
			}
			var out *store.Chapter
			if err == nil {
				out, err = d.chapter(ch.Title, ch.Matter.String(), len(ch.Segments), func(i int) passage {
					return passage{Segment: &ch.Segments[i]}
				})
			}
			if !yield(out, err) || err != nil {
				return
			}
		}
	}
}

// passage is a segment of a manuscript, and the voice it asks for.
type passage struct {
	*manuscript.Segment
	voice string
}

func (d *draft) chapter(title, matter string, n int, passages func(int) passage) (*store.Chapter, error) {
	if d.count++; d.count > d.limits.Chapters {
		return nil, tooLarge("The document has more than %d chapters.", d.limits.Chapters)
	}
	if d.next-1+n > d.limits.Segments {
		return nil, tooLarge("The document has more than %d segments of text.", d.limits.Segments)
	}
	ch := &store.Chapter{Ordinal: d.count, Title: clip(title), Matter: matter, FirstSegment: d.next, Segments: make([]store.PlannedSegment, 0, n)}
	digest := job.NewOrderDigest()
	for i := range n {
		g, err := d.segment(passages(i))
		if err != nil {
			return nil, err
		}
		digest.Add(g.RenditionKey)
		ch.Segments = append(ch.Segments, g)
	}
	ch.Digest = digest.Sum()
	return ch, nil
}

// maxTitle is how many characters of a title are kept; it is shown, never spoken.
const maxTitle = 200

func clip(title string) string {
	n := 0
	for i := range title {
		if n == maxTitle {
			return title[:i] + "…"
		}
		n++
	}
	return title
}

func (d *draft) segment(p passage) (store.PlannedSegment, error) {
	language := p.Language
	if language == "" {
		language = d.cast.language
	}
	v, err := d.cast.voice(p.voice, language)
	if err != nil {
		return store.PlannedSegment{}, err
	}
	pronunciations, err := encode(p.Pronunciations)
	if err != nil {
		return store.PlannedSegment{}, err
	}
	spec := &d.claim.Spec
	g := store.PlannedSegment{
		N: d.next, Chapter: d.count, Text: p.Text, Voice: v.Name, Language: language, Pool: v.Pool,
		Pronunciations: pronunciations, SourceDocument: p.Source.Document, SourceStart: p.Source.Start, SourceEnd: p.Source.End,
		Break: p.Break.String(), Seconds: p.Seconds, SampleRate: v.SampleRate, Characters: utf8.RuneCountInString(p.Text),
		RenditionKey: job.Rendition{
			Tenant: d.claim.Tenant, Pool: v.Pool, Engine: v.Engine, Voice: v.Name, Language: language, Text: p.Text,
			Speed: spec.Speed, Seed: spec.Seed, SampleRate: v.SampleRate, Pronunciations: string(pronunciations),
		}.Key(),
	}
	d.next++
	return g, nil
}

// pronunciation is how a manuscript's pronunciation travels to the engine. The
// order of the fields is part of the rendition key.
type pronunciation struct {
	Start    int    `json:"start"` // bytes of the text
	End      int    `json:"end"`
	Alphabet string `json:"alphabet,omitempty"`
	Phonemes string `json:"phonemes,omitempty"`
	Alias    string `json:"alias,omitempty"`
}

func encode(list []manuscript.Pronunciation) (json.RawMessage, error) {
	if len(list) == 0 {
		return nil, nil
	}
	out := make([]pronunciation, len(list))
	for i, p := range list {
		out[i] = pronunciation{Start: p.Start, End: p.End, Alphabet: p.Alphabet, Phonemes: p.Phonemes, Alias: p.Alias}
	}
	raw, err := json.Marshal(out)
	if err != nil {
		return nil, fmt.Errorf("encode pronunciations: %w", err)
	}
	return raw, nil
}
