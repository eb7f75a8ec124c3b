package plantest

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
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
	Callback  *job.Callback
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
	ID     job.ID
	Tenant job.Tenant
	Works  []bus.Work // of every segment, in order; the attempt is 1
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

// Insert plans b: the job is queued, its segments are pending.
func Insert(tb testing.TB, pool *pg.Pool, b Book) Plan {
	tb.Helper()
	b.defaults()
	ctx := tb.Context()
	require.NoError(tb, pg.EnsureTenant(ctx, pool, b.Tenant))
	minter, err := job.NewMinter(make([]byte, 16), rand.Reader)
	require.NoError(tb, err)
	id, err := minter.Mint(b.Tenant, time.Now())
	require.NoError(tb, err)
	p := Plan{ID: id, Tenant: b.Tenant}
	spec := job.Spec{Voice: b.Voice, Class: b.Class, OnFailure: b.OnFailure, Callback: b.Callback}
	spec.Normalize()
	raw, err := json.Marshal(spec)
	require.NoError(tb, err)

	total, seconds, characters := 0, 0.0, 0
	book := job.NewOrderDigest()
	type row struct {
		first, segments int
		digest          []byte
	}
	rows := make([]row, len(b.Chapters))
	for i, c := range b.Chapters {
		digest := job.NewOrderDigest()
		rows[i].first = total + 1
		for _, g := range c.Segments {
			total++
			seconds += g.Seconds
			characters += len(g.Text)
			w := b.work(id, total, i+1, g)
			digest.Add(w.RenditionKey)
			p.Works = append(p.Works, w)
		}
		rows[i].segments, rows[i].digest = len(c.Segments), digest.Sum()
		book.Add(hex.EncodeToString(rows[i].digest))
	}
	exec(tb, pool, `insert into jobs (id, tenant_id, class, state, spec, on_failure, title, language, segments_total, chapters_total,
		characters, predicted_seconds, plan_digest, accepted_at) values ($1,$2,$3,'queued',$4,$5,'A book','en',$6,$7,$8,$9,$10,now())`,
		id, b.Tenant, b.Class, raw, b.OnFailure, total, len(b.Chapters), characters, seconds, book.Sum())
	n := 0
	for i, c := range b.Chapters {
		exec(tb, pool, `insert into chapters (job_id, ordinal, title, state, first_segment, segments_total, plan_digest)
			values ($1,$2,$3,'pending',$4,$5,$6)`, id, i+1, c.Title, rows[i].first, rows[i].segments, rows[i].digest)
		for _, g := range c.Segments {
			w := p.Works[n]
			n++
			exec(tb, pool, `insert into segments (job_id, n, chapter, text, voice, language, pool, break_after, predicted_seconds,
				rendition_key, state, sample_rate, source_document, source_start, source_end)
				values ($1,$2,$3,$4,$5,'en',$6,$7,$8,$9,'pending',$10,'text',$11,$12)`,
				id, n, i+1, g.Text, b.Voice, b.Pool, g.Break, g.Seconds, w.RenditionKey, nil, n*1000, n*1000+len(g.Text))
		}
	}
	return p
}

func (b *Book) work(id job.ID, n, chapter int, g Segment) bus.Work {
	w := bus.Work{
		JobID: id, N: n, Chapter: chapter, Attempt: 1, Tenant: b.Tenant, Pool: b.Pool, Voice: b.Voice, Language: "en",
		Text: g.Text, Speed: 1, PredictedSeconds: g.Seconds, SampleRate: b.Rate, Class: b.Class, Solo: g.Solo,
	}
	w.RenditionKey = job.Rendition{
		Tenant: b.Tenant, Pool: b.Pool, Voice: b.Voice, Language: "en", Text: g.Text, Speed: 1, SampleRate: b.Rate,
	}.Key()
	return w
}

func exec(tb testing.TB, pool *pg.Pool, sql string, args ...any) {
	tb.Helper()
	_, err := pool.Exec(tb.Context(), sql, args...)
	require.NoError(tb, err)
}

// Release makes every pending segment of p that may be released now released,
// with one attempt more, and returns their messages.
func Release(ctx context.Context, pool *pg.Pool, p Plan) ([]bus.Work, error) {
	if _, err := pool.Exec(ctx, `update jobs set state = 'running', started_at = coalesce(started_at, clock_timestamp()), version = version + 1
		where id = $1 and state = 'queued'`, p.ID); err != nil {
		return nil, fmt.Errorf("start job: %w", err)
	}
	rows, err := pool.Query(ctx, `update segments set state = 'released', attempt = attempt + 1, released_at = now(), not_before = null
		where job_id = $1 and state = 'pending' and (not_before is null or not_before <= now()) returning n, attempt`, p.ID)
	if err != nil {
		return nil, fmt.Errorf("release: %w", err)
	}
	defer rows.Close()
	var works []bus.Work
	for rows.Next() {
		var n, attempt int
		if err := rows.Scan(&n, &attempt); err != nil {
			return nil, err
		}
		w := p.Works[n-1]
		w.Attempt = attempt
		works = append(works, w)
	}
	return works, rows.Err()
}

// Due takes what is due for assembly from the outbox.
func Due(ctx context.Context, pool *pg.Pool) ([]bus.Assembly, error) {
	rows, err := pool.Query(ctx, `update outbox set released_at = now() where released_at is null returning job_id, ordinal, attempt`)
	if err != nil {
		return nil, fmt.Errorf("read the outbox: %w", err)
	}
	defer rows.Close()
	var due []bus.Assembly
	for rows.Next() {
		var a bus.Assembly
		if err := rows.Scan(&a.JobID, &a.Ordinal, &a.Attempt); err != nil {
			return nil, err
		}
		due = append(due, a)
	}
	return due, rows.Err()
}
