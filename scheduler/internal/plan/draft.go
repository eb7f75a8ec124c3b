package plan

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"strings"
	"unicode/utf8"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/scheduler/internal/manuscript"
	"github.com/voicemill/voicemill/scheduler/internal/reader"
	"github.com/voicemill/voicemill/scheduler/internal/store"
)

// draft reads one job.
type draft struct {
	claim  store.Claim
	limits job.Limits
	cast   *cast
	next   int // number of the next segment
	count  int // chapters so far

	cover []byte // of the document; nil if it has none, or none is wanted

	digest job.OrderDigest // of the chapter that is being read
	goesOn bool            // it has parts to come
}

// read opens the input of a claim and returns the plan. Its chapters are made
// while they are taken; an error in them is a *job.Error. cover is the document's own, if
// one is wanted and there is one. r holds the upload
// and is nil for inline input. ctx bounds the reading of the chapters too. The
// caller calls done when it needs no more of them.
func (p *Planner) read(ctx context.Context, claim store.Claim, casting *Casting, r io.ReaderAt, size int64) (plan store.Plan, cover []byte, done func(), err error) {
	claim.Spec.Normalize() // the gateway has done it; a stored spec may be older than a default
	d := &draft{claim: claim, limits: p.deps.Limits, next: 1}
	plan = store.Plan{
		ID: claim.ID, Num: claim.Num, Attempt: claim.Attempt, Tenant: claim.Tenant, Class: claim.Class, Callback: claim.Spec.Callback,
		Verify: claim.Spec.Verify, Claim: &claim,
	}
	done = func() {}
	if casting.Empty() {
		return plan, nil, done, &job.Error{Op: "plan.read", JobID: claim.ID, Kind: job.Unavailable, Public: "No worker has offered a voice yet."}
	}
	in := &claim.Spec.Input
	switch {
	case in.Segments != nil:
		plan, err = d.segments(ctx, plan, casting, d.options())
	case r == nil && in.Media == manuscript.TypePlain: // short, and read by our own code alone
		plan, err = d.text(ctx, plan, casting)
	default:
		if r == nil {
			r, size = strings.NewReader(in.Text), int64(len(in.Text))
		}
		plan, done, err = d.foreign(ctx, p.reader, plan, casting, r, size)
	}
	return plan, d.cover, done, err
}

func (d *draft) options() manuscript.Options {
	spec := &d.claim.Spec
	return manuscript.Options{
		Language: spec.Language, MaxSegmentSeconds: d.limits.SegmentSeconds,
		CharsPerSecond: func(lang string) float64 { return manuscript.CharsPerSecond(lang) * spec.Speed },
	}
}

// text plans plain text that came with the request.
func (d *draft) text(ctx context.Context, p store.Plan, casting *Casting) (_ store.Plan, err error) {
	doc, err := manuscript.FromText(ctx, d.claim.Spec.Input.Text, d.options())
	if err != nil {
		return p, err
	}
	p.Title, p.Author, p.About, p.Language = doc.About.Title, doc.About.Author, doc.About, doc.Language
	if d.cast, err = casting.forJob(d.claim.Spec.Voice, doc.Language); err != nil {
		return p, err
	}
	p.Chapters = d.parts(ctx, func(yield func(*reader.Part, error) bool) {
		for ch, err := range doc.Chapters() {
			var part *reader.Part
			if err == nil {
				part = &reader.Part{Title: ch.Title, Matter: ch.Matter, Segments: ch.Segments}
			}
			if !yield(part, err) {
				return
			}
		}
	})
	return p, nil
}

// foreign plans a document that is read in a child, which done ends.
func (d *draft) foreign(
	ctx context.Context, children *reader.Reader, p store.Plan, casting *Casting, r io.ReaderAt, size int64,
) (_ store.Plan, done func(), err error) {
	spec := &d.claim.Spec
	doc, err := children.Open(ctx, r, size, spec.Input.Media, reader.Options{
		Language: spec.Language, MaxSegmentSeconds: d.limits.SegmentSeconds, Speed: spec.Speed, Cover: spec.Output.Encodes(),
	})
	if err != nil {
		return p, func() {}, err
	}
	d.cover = doc.Cover
	done = func() { _ = doc.Close() } // it is through, or nobody wants it any more
	p.Title, p.Author, p.About, p.Language = doc.About.Title, doc.About.Author, doc.About, doc.Language
	if d.cast, err = casting.forJob(spec.Voice, doc.Language); err != nil {
		return p, done, err
	}
	p.Chapters = d.parts(ctx, doc.Parts(ctx))
	return p, done, nil
}

// parts yields the chapters of a manuscript, a long one in parts.
func (d *draft) parts(ctx context.Context, parts iter.Seq2[*reader.Part, error]) iter.Seq2[*store.Chapter, error] {
	return func(yield func(*store.Chapter, error) bool) {
		for part, err := range parts {
			if err == nil && ctx.Err() != nil {
				err = &job.Error{Op: "plan.parts", JobID: d.claim.ID, Kind: job.Unavailable, Err: context.Cause(ctx)}
			}
			var out *store.Chapter
			if err == nil {
				out, err = d.part(part.Title, part.Matter.String(), part.More, len(part.Segments), func(i int) passage {
					return passage{Segment: &part.Segments[i]}
				})
			}
			if !yield(out, err) || err != nil {
				return
			}
		}
	}
}

// passage is a segment of a manuscript, and the voice and the instructions it asks for.
type passage struct {
	*manuscript.Segment
	voice, instructions string
}

// part makes the next chapter, or what follows of the one before.
func (d *draft) part(title, matter string, more bool, n int, passages func(int) passage) (*store.Chapter, error) {
	if !d.goesOn {
		if d.count++; d.count > d.limits.Chapters {
			return nil, tooLarge("The document has more than %d chapters.", d.limits.Chapters)
		}
		d.digest = job.NewOrderDigest()
	}
	d.goesOn = more
	if d.next-1+n > d.limits.Segments {
		return nil, tooLarge("The document has more than %d segments of text.", d.limits.Segments)
	}
	ch := &store.Chapter{
		Ordinal: d.count, Title: clip(title), Matter: matter, FirstSegment: d.next, More: more, Segments: make([]store.PlannedSegment, 0, n),
	}
	for i := range n {
		g, err := d.segment(passages(i))
		if err != nil {
			return nil, err
		}
		d.digest.Add(g.RenditionKey)
		ch.Segments = append(ch.Segments, g)
	}
	ch.Digest = d.digest.Sum()
	return ch, nil
}

// maxTitle is how many characters of a chapter's title are kept; it is shown, never spoken.
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
	v, err := d.cast.voice(p.voice, language, cmp.Or(p.instructions, d.claim.Spec.Instructions))
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
		Pronunciations: pronunciations, Instructions: p.instructions, SourceDocument: p.Source.Document, SourceStart: p.Source.Start, SourceEnd: p.Source.End,
		Break: p.Break.String(), Seconds: p.Seconds, SampleRate: v.SampleRate, Characters: utf8.RuneCountInString(p.Text),
		RenditionKey: job.Rendition{
			Tenant: d.claim.Tenant, Pool: v.Pool, Engine: v.Engine, Voice: v.Name, Language: language, Text: p.Text,
			Speed: spec.Speed, Seed: spec.Seed, SampleRate: v.SampleRate, Pronunciations: string(pronunciations),
			Instructions: cmp.Or(p.instructions, spec.Instructions),
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
