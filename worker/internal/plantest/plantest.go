package plantest

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/bus"
	"github.com/voicemill/voicemill/platform/pg"
)

// Book is a job to plan. The zero value of every field but Chapters has a default.
type Book struct {
	Tenant    job.Tenant // "default"
	Pool      string     // "test"
	Voice     string     // "narrator-en"
	Rate      int        // 22050
	Class     job.Class
	OnFailure job.OnFailure
	Loudness  string
	Verify    job.Verify
	Callback  *job.Callback
	Subtitles []string // formats
	Chapters  []Chapter
}

// Chapter is one chapter of a Book.
type Chapter struct {
	Title    string
	Segments []Segment
}

// Segment is one segment of a Chapter.
type Segment struct {
	Text    string
	Break   string  // "sentence", and "chapter" for the last
	Seconds float64 // predicted; by default 15 characters a second
	Solo    bool
}

// Sentences returns a chapter of one segment for each text.
func Sentences(title string, texts ...string) Chapter {
	c := Chapter{Title: title}
	for _, t := range texts {
		c.Segments = append(c.Segments, Segment{Text: t})
	}
	return c
}

// Plan is a job in the database.
type Plan struct {
	ID       job.ID
	Num      int64 // how the database names it
	Tenant   job.Tenant
	Segments []bus.Segment // in reading order
	bundle   bus.Bundle    // what all its bundles share
	solo     map[int]bool
}

// Bundle returns the bundle of segments ns under an attempt.
func (p Plan) Bundle(attempt int, solo bool, ns ...int) bus.Bundle {
	b := p.bundle
	b.Attempt, b.Solo = attempt, solo
	for _, n := range ns {
		b.Segments = append(b.Segments, p.Segments[n-1])
	}
	return b
}

func (b *Book) defaults() {
	if b.Tenant == "" {
		b.Tenant = "default"
	}
	if b.Pool == "" {
		b.Pool = "test"
	}
	if b.Voice == "" {
		b.Voice = "narrator-en"
	}
	if b.Rate == 0 {
		b.Rate = 22050
	}
	if b.Class == "" {
		b.Class = job.Bulk
	}
	if b.OnFailure == "" {
		b.OnFailure = job.FailJob
	}
	for _, c := range b.Chapters {
		for i := range c.Segments {
			g := &c.Segments[i]
			if g.Break == "" {
				g.Break = "sentence"
				if i == len(c.Segments)-1 {
					g.Break = "chapter"
				}
			}
			if g.Seconds == 0 {
				g.Seconds = 0.2 + float64(len(g.Text))/15
			}
		}
	}
}

// Insert plans b: the job is queued, none of its segments is released.
func Insert(tb testing.TB, pool *pg.Pool, b Book) Plan {
	tb.Helper()
	b.defaults()
	ctx := tb.Context()
	require.NoError(tb, pg.EnsureTenant(ctx, pool, b.Tenant))
	minter, err := job.NewMinter(make([]byte, 16), rand.Reader)
	require.NoError(tb, err)
	id, err := minter.Mint(b.Tenant, time.Now())
	require.NoError(tb, err)
	p := Plan{ID: id, Tenant: b.Tenant, solo: map[int]bool{}}
	spec := job.Spec{Voice: b.Voice, Class: b.Class, OnFailure: b.OnFailure, Verify: b.Verify, Callback: b.Callback, Output: job.Output{Subtitles: b.Subtitles, Loudness: b.Loudness}}
	spec.Normalize()
	raw, err := json.Marshal(spec)
	require.NoError(tb, err)

	seconds, characters := 0.0, 0
	book := job.NewOrderDigest()
	digests := make([][]byte, len(b.Chapters))
	for i, c := range b.Chapters {
		digest := job.NewOrderDigest()
		for _, g := range c.Segments {
			n := len(p.Segments) + 1
			seconds += g.Seconds
			characters += len(g.Text)
			p.Segments = append(p.Segments, b.segment(n, i+1, g))
			p.solo[n] = g.Solo
			digest.Add(p.Segments[n-1].RenditionKey)
		}
		digests[i] = digest.Sum()
		book.Add(hex.EncodeToString(digests[i]))
	}
	require.NoError(tb, pool.QueryRow(ctx, `insert into jobs (id, tenant_id, class, state, spec, on_failure, title, language, segments_total, chapters_total,
		characters, predicted_seconds, plan_digest, accepted_at) values ($1,$2,$3,'queued',$4,$5,'A book','en',$6,$7,$8,$9,$10,now()) returning num`,
		id, b.Tenant, b.Class, raw, b.OnFailure, len(p.Segments), len(b.Chapters), characters, seconds, book.Sum()).Scan(&p.Num))
	p.bundle = bus.Bundle{JobID: id, Job: p.Num, Tenant: b.Tenant, Class: b.Class, Pool: b.Pool, Speed: 1, Verify: b.Verify}
	first := 1
	for i, c := range b.Chapters {
		exec(tb, pool, `insert into chapters (job_id, ordinal, title, state, first_segment, segments_total, plan_digest)
			values ($1,$2,$3,'pending',$4,$5,$6)`, id, i+1, c.Title, first, len(c.Segments), digests[i])
		first += len(c.Segments)
	}
	b.blocks(tb, pool, p)
	exec(tb, pool, `insert into queues (job, pool, seconds) values ($1,$2,$3)`, p.Num, b.Pool, seconds)
	return p
}

// blocks writes the blocks of p; segments are released in reading order.
func (b *Book) blocks(tb testing.TB, pool *pg.Pool, p Plan) {
	tb.Helper()
	var breaks []string
	for _, c := range b.Chapters {
		for _, g := range c.Segments {
			breaks = append(breaks, g.Break)
		}
	}
	for from := 0; from < len(p.Segments); from += bus.BlockSegments {
		to := min(from+bus.BlockSegments, len(p.Segments))
		var c struct {
			chapters, rates                       []int32
			texts, voices, languages, pools, docs []string
			starts, ends                          []int64
			seconds                               []float32
			keys, turns                           []byte
		}
		for i, g := range p.Segments[from:to] {
			key, err := hex.DecodeString(g.RenditionKey)
			require.NoError(tb, err)
			c.chapters, c.rates = append(c.chapters, int32(g.Chapter)), append(c.rates, int32(g.SampleRate)) //nolint:gosec // small
			c.texts, c.voices, c.languages = append(c.texts, g.Text), append(c.voices, g.Voice), append(c.languages, g.Language)
			c.pools, c.docs = append(c.pools, b.Pool), append(c.docs, "text")
			c.starts, c.ends = append(c.starts, int64(g.N)*1000), append(c.ends, int64(g.N)*1000+int64(len(g.Text)))
			c.seconds, c.keys, c.turns = append(c.seconds, float32(g.PredictedSeconds)), append(c.keys, key...), append(c.turns, byte(i)) //nolint:gosec // below 64
		}
		exec(tb, pool, `insert into blocks (job, b, chapters, texts, voices, languages, pools, documents, starts, ends, breaks, seconds, rates, keys, turns)
			values ($1,$2,$3,$4,$5,$6,$7,$8,$9,$10,$11,$12,$13,$14,$15)`, p.Num, from/bus.BlockSegments, c.chapters, c.texts, c.voices, c.languages,
			c.pools, c.docs, c.starts, c.ends, breaks[from:to], c.seconds, c.rates, c.keys, c.turns)
	}
}

func (b *Book) segment(n, chapter int, g Segment) bus.Segment {
	return bus.Segment{
		N: n, Chapter: chapter, Voice: b.Voice, Language: "en", Text: g.Text, PredictedSeconds: g.Seconds, SampleRate: b.Rate,
		RenditionKey: job.Rendition{
			Tenant: b.Tenant, Pool: b.Pool, Voice: b.Voice, Language: "en", Text: g.Text, Speed: 1, SampleRate: b.Rate,
		}.Key(),
	}
}

func exec(tb testing.TB, pool *pg.Pool, sql string, args ...any) {
	tb.Helper()
	_, err := pool.Exec(tb.Context(), sql, args...)
	require.NoError(tb, err)
}
