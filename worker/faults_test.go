package worker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/blob"
	"github.com/voicemill/voicemill/platform/bus"
	"github.com/voicemill/voicemill/worker/internal/assemble"
	"github.com/voicemill/voicemill/worker/internal/commit"
	"github.com/voicemill/voicemill/worker/internal/consume"
	"github.com/voicemill/voicemill/worker/internal/engine"
	"github.com/voicemill/voicemill/worker/internal/fleet"
	"github.com/voicemill/voicemill/worker/internal/lease"
	"github.com/voicemill/voicemill/worker/internal/plantest"
	"github.com/voicemill/voicemill/worker/internal/store"
)

// texts returns n different texts.
func texts(n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprintf("Sentence number %d.", i+1)
	}
	return out
}

func (w *world) insert(t *testing.T, allow job.OnFailure, chapters ...plantest.Chapter) plantest.Plan {
	t.Helper()
	p := plantest.Insert(t, w.db, plantest.Book{OnFailure: allow, Chapters: chapters})
	plantest.Schedule(t, w.db, w.bus, p)
	return p
}

func (w *world) attempts(t *testing.T, id job.ID) int {
	t.Helper()
	return w.number(t, `select max(attempt) from segments where job_id = $1`, id)
}

func TestOnePoisonousTextFailsAloneAndChargesNobodyElse(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	e := &scripted{before: func(_ context.Context, _ int, batch []engine.Request) error {
		for _, r := range batch {
			if strings.Contains(r.Text, "poison") {
				return dies()
			}
		}
		return nil
	}}
	all := texts(15)
	all = append(all[:9], append([]string{"This is poison."}, all[9:]...)...)
	w.start(t, quickConfig(), e, nil)
	p := w.insert(t, job.AllowPartial, plantest.Sentences("One", all...))
	require.Equal(t, job.StatePartial, plantest.AwaitEnd(t, w.db, p, within))
	m := w.checkBook(t, p.ID)
	require.Equal(t, 1, m.Totals.SegmentsFailed)
	require.Equal(t, "engine", m.Chapters[0].Segments[9].Error.Kind)
	require.Equal(t, "1 of 16 segments failed. Segment 10: The engine died.", m.Error.Detail)
	require.Equal(t, 1, w.number(t, `select max(attempt) from segments where job_id = $1 and state = 'done'`, p.ID), "a healthy segment was charged")
	require.Equal(t, 3, w.number(t, `select attempt from segments where job_id = $1 and state = 'failed'`, p.ID))
	for _, text := range all {
		if !strings.Contains(text, "poison") {
			require.Equal(t, 1, e.times(text), text)
		}
	}
}

func TestAJobFailsAndNamesWhatFailed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start(t, quickConfig(), &scripted{}, nil)
	p := w.insert(t, job.FailJob, plantest.Sentences("One", "Good.", "Only silence."), plantest.Sentences("Two", "Good too."))
	require.Equal(t, job.StateFailed, plantest.AwaitEnd(t, w.db, p, within))
	m := w.checkBook(t, p.ID)
	require.Equal(t, &assemble.Fault{Kind: "engine", Detail: "1 of 3 segments failed. Segment 2: The audio was not usable: it is silent."}, m.Error)
	require.Equal(t, job.ChapterFailed, m.Chapters[0].State)
	require.Equal(t, job.ChapterReady, m.Chapters[1].State)
	require.Equal(t, 3, w.attempts(t, p.ID))
}

func TestARequestThatCanNeverSucceedIsNotTriedAgain(t *testing.T) {
	t.Parallel()
	for name, cause := range map[string]error{
		"invalid": &job.Error{Op: "scripted", Kind: job.Invalid, Public: "No such voice."},
		"poison":  &job.Error{Op: "scripted", Kind: job.Engine, Err: engine.ErrPoison},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			e := &scripted{each: func(_ context.Context, r engine.Request) error {
				if strings.Contains(r.Text, "bad") {
					return cause
				}
				return nil
			}}
			w.start(t, quickConfig(), e, nil)
			p := w.insert(t, job.FailJob, plantest.Sentences("One", "Good.", "Very bad."))
			require.Equal(t, job.StateFailed, plantest.AwaitEnd(t, w.db, p, within))
			require.Equal(t, 1, w.attempts(t, p.ID))
		})
	}
}

func TestAnEngineThatFailsOnceIsTriedAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var failed sync.Map
	seeds := map[int64]bool{}
	var mu sync.Mutex
	e := &scripted{each: func(_ context.Context, r engine.Request) error {
		mu.Lock()
		defer mu.Unlock()
		seeds[r.Seed] = true
		if _, again := failed.LoadOrStore(r.Text, true); !again {
			return dies()
		}
		return nil
	}}
	w.start(t, quickConfig(), e, nil)
	p := w.insert(t, job.FailJob, plantest.Sentences("One", texts(6)...))
	require.Equal(t, job.StateSucceeded, plantest.AwaitEnd(t, w.db, p, within))
	w.checkBook(t, p.ID)
	require.LessOrEqual(t, w.attempts(t, p.ID), 2)
}

func TestASegmentThatIsJudgedBadIsSpokenAgainWithAnotherSeed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	texts := texts(6)
	var first atomic.Int64
	e := &scripted{spoil: func(r engine.Request, samples []int16) {
		if r.Text != texts[2] {
			return
		}
		first.CompareAndSwap(0, r.Seed+1)
		if r.Seed+1 != first.Load() { // the seed decides, as with a model that samples
			return
		}
		for i := range samples {
			samples[i] = int16(8000 - 16000*(i%2)) //nolint:gosec // it fits
		}
	}}
	w.start(t, quickConfig(), e, nil)
	p := w.insert(t, job.FailJob, plantest.Sentences("One", texts...))
	require.Equal(t, job.StateSucceeded, plantest.AwaitEnd(t, w.db, p, within))
	m := w.checkBook(t, p.ID) // the file has what is stored of each segment
	require.Equal(t, 2, w.attempts(t, p.ID))
	_, samples := pcm(t, w.object(t, w.objectKey(t, m.Chapters[0].Segments[2].RenditionKey)))
	require.Equal(t, tone(220, float64(len(samples))/scriptedRate), samples, "what is stored is the good one")
}

func TestAnEngineThatHangsIsLeft(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var hangs atomic.Int64
	e := &scripted{before: func(ctx context.Context, _ int, batch []engine.Request) error {
		if batch[0].ID == fleet.CanaryID || hangs.Add(1) > 2 {
			return nil
		}
		<-ctx.Done()
		return engine.CallError("scripted", context.Cause(ctx))
	}}
	cfg := quickConfig()
	cfg.CallTime = 200 * time.Millisecond
	w.start(t, cfg, e, nil)
	p := plantest.Insert(t, w.db, plantest.Book{Chapters: []plantest.Chapter{{Segments: []plantest.Segment{{Text: "A.", Seconds: 0.05}, {Text: "B.", Seconds: 0.05}}}}})
	plantest.Schedule(t, w.db, w.bus, p)
	require.Equal(t, job.StateSucceeded, plantest.AwaitEnd(t, w.db, p, within))
}

func TestAnEngineThatIsAwayChargesNobody(t *testing.T) {
	t.Parallel()
	for name, kind := range map[string]job.Kind{"away": job.Unavailable, "full": job.Overloaded} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			var back atomic.Bool
			e := &scripted{before: func(context.Context, int, []engine.Request) error {
				if back.Load() {
					return nil
				}
				return &job.Error{Op: "scripted", Kind: kind, Err: &engine.BusyError{After: 100 * time.Millisecond}}
			}}
			w.start(t, quickConfig(), e, nil)
			p := w.insert(t, job.FailJob, plantest.Sentences("One", texts(30)...))
			require.Eventually(t, func() bool { return e.allCalls() >= 4 }, within, 20*time.Millisecond)
			require.Less(t, e.allCalls(), 20, "an engine that is away is asked again and again")
			back.Store(true)
			require.Equal(t, job.StateSucceeded, plantest.AwaitEnd(t, w.db, p, within))
			require.Equal(t, 1, w.attempts(t, p.ID))
			w.checkBook(t, p.ID)
		})
	}
}

func TestCancelledWorkNeverReachesAnEngine(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	hold, begun := make(chan struct{}), make(chan struct{}, 100)
	e := &scripted{before: func(ctx context.Context, _ int, batch []engine.Request) error {
		if batch[0].ID == fleet.CanaryID {
			return nil
		}
		begun <- struct{}{}
		select {
		case <-hold:
		case <-ctx.Done():
		}
		return nil
	}}
	cfg := quickConfig()
	cfg.CallTime = time.Minute
	w.start(t, cfg, e, nil)
	p := w.insert(t, job.FailJob, plantest.Sentences("One", texts(60)...))
	<-begun
	<-begun
	require.NoError(t, plantest.Cancel(t.Context(), w.db, p))
	<-time.After(200 * time.Millisecond) // what was claimed just now is not asked for again
	close(hold)
	w.drained(t, "the messages of a cancelled job stay")
	require.Equal(t, 2, e.callCount(), "cancelled work reached the engine")
	require.Zero(t, w.number(t, `select segments_done from jobs where id = $1`, p.ID))
}

// faultyBlob fails puts or gets while told so.
type faultyBlob struct {
	*blob.Store
	puts, gets atomic.Bool
	failed     atomic.Int64
}

func (b *faultyBlob) Put(ctx context.Context, key string, r io.Reader, size int64, opt blob.PutOptions) (blob.Info, error) {
	if b.puts.Load() {
		b.failed.Add(1)
		return blob.Info{}, &job.Error{Op: "faulty", Kind: job.Overloaded, Err: errors.New("disk full")}
	}
	return b.Store.Put(ctx, key, r, size, opt)
}

func (b *faultyBlob) Get(ctx context.Context, key string, opt blob.GetOptions) (io.ReadCloser, blob.Info, error) {
	if b.gets.Load() {
		b.failed.Add(1)
		return nil, blob.Info{}, &job.Error{Op: "faulty", Kind: job.Unavailable}
	}
	return b.Store.Get(ctx, key, opt)
}

func TestAFullBucketLosesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := &faultyBlob{Store: w.blob}
	b.puts.Store(true)
	b.gets.Store(true)
	cfg := quickConfig()
	cfg.Hold = 300 * time.Millisecond // so that messages are given back too
	w.start(t, cfg, &scripted{}, func(p *parts) { p.blob = b })
	p := w.insert(t, job.FailJob, plantest.Sentences("One", texts(10)...))
	require.Eventually(t, func() bool { return b.failed.Load() >= 20 }, within, 20*time.Millisecond)
	b.puts.Store(false)
	before := b.failed.Load()
	require.Eventually(t, func() bool { return b.failed.Load() > before+3 }, within, 20*time.Millisecond, "joining meets the outage")
	b.gets.Store(false)
	require.Equal(t, job.StateSucceeded, plantest.AwaitEnd(t, w.db, p, within))
	require.Equal(t, 1, w.attempts(t, p.ID))
	w.checkBook(t, p.ID)
}

// faultyTable is the database for commits, with faults.
type faultyTable struct {
	commit.Store
	away atomic.Bool
}

func (f *faultyTable) Settle(ctx context.Context, os []store.Outcome) (store.Settled, error) {
	if f.away.Load() {
		return store.Settled{}, &job.Error{Op: "faulty", Kind: job.Unavailable}
	}
	return f.Store.Settle(ctx, os)
}

func TestADatabaseThatIsAwayLosesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	f := &faultyTable{}
	f.away.Store(true)
	e := &scripted{}
	cfg := quickConfig()
	cfg.Hold = 300 * time.Millisecond
	w.start(t, cfg, e, func(p *parts) {
		p.settle = func(s *store.Store) commit.Store { f.Store = s; return f }
	})
	p := w.insert(t, job.FailJob, plantest.Sentences("One", texts(10)...))
	require.Eventually(t, func() bool { return e.callCount() >= 3 }, within, 20*time.Millisecond)
	f.away.Store(false)
	require.Equal(t, job.StateSucceeded, plantest.AwaitEnd(t, w.db, p, within))
	require.Equal(t, 1, w.attempts(t, p.ID))
	w.checkBook(t, p.ID)
}

// grave lets a worker die: from kill on, nothing of it reaches anybody.
type grave struct {
	dead atomic.Bool
	died chan struct{}
	once sync.Once
}

func newGrave() *grave { return &grave{died: make(chan struct{})} }

func (g *grave) kill() {
	g.dead.Store(true)
	g.once.Do(func() { close(g.died) })
}

// buried is a message that a dead worker can no longer settle.
type buried struct {
	lease.Message
	g *grave
}

func (m buried) Ack(ctx context.Context) error {
	if m.g.dead.Load() {
		return errors.New("dead")
	}
	return m.Message.Ack(ctx)
}

func (m buried) Nak() error {
	if m.g.dead.Load() {
		return errors.New("dead")
	}
	return m.Message.Nak()
}

func (m buried) InProgress() error {
	if m.g.dead.Load() {
		return errors.New("dead")
	}
	return m.Message.InProgress()
}

// mortal wraps every way in which a worker touches the world.
type mortal struct {
	consume.Source
	g *grave
}

func (s mortal) Fetch(ctx context.Context, class job.Class, limit int, wait time.Duration) ([]consume.Message, error) {
	msgs, err := s.Source.Fetch(ctx, class, limit, wait)
	for i := range msgs {
		msgs[i].Message = buried{msgs[i].Message, s.g}
	}
	return msgs, err
}

type mortalQueue struct {
	assemble.Source
	g *grave
}

func (s mortalQueue) Fetch(ctx context.Context, class job.Class, limit int, wait time.Duration) ([]assemble.Message, error) {
	msgs, err := s.Source.Fetch(ctx, class, limit, wait)
	for i := range msgs {
		msgs[i].Message = buried{msgs[i].Message, s.g}
	}
	return msgs, err
}

type mortalBlob struct {
	*blob.Store
	g      *grave
	before func(key string) bool // die before this put
	after  func(key string) bool // die after this put
}

func (b mortalBlob) Put(ctx context.Context, key string, r io.Reader, size int64, opt blob.PutOptions) (blob.Info, error) {
	if b.before(key) {
		b.g.kill()
	}
	if b.g.dead.Load() {
		return blob.Info{}, &job.Error{Op: "dead", Kind: job.Unavailable}
	}
	info, err := b.Store.Put(ctx, key, r, size, opt)
	if b.after(key) {
		b.g.kill()
	}
	if b.g.dead.Load() {
		return blob.Info{}, &job.Error{Op: "dead", Kind: job.Unavailable}
	}
	return info, err
}

type mortalTable struct {
	commit.Store
	g     *grave
	after bool // die after the first commit, before anybody hears of it
}

func (m mortalTable) Settle(ctx context.Context, os []store.Outcome) (store.Settled, error) {
	if m.g.dead.Load() {
		return store.Settled{}, &job.Error{Op: "dead", Kind: job.Unavailable}
	}
	done, err := m.Store.Settle(ctx, os)
	if m.after {
		m.g.kill()
		return store.Settled{}, &job.Error{Op: "dead", Kind: job.Unavailable}
	}
	return done, err
}

func TestAWorkerMayDieAtAnyPoint(t *testing.T) {
	t.Parallel()
	never := func(string) bool { return false }
	nth := func(n int64, part string) func(string) bool {
		var seen atomic.Int64
		return func(key string) bool { return strings.Contains(key, part) && seen.Add(1) == n }
	}
	for name, point := range map[string]struct {
		before, after func(key string) bool
		commit        bool
		noise         bool // the second worker's engine speaks otherwise than the first
		sentence      bool // the job is one segment, which its worker ends without queueing
	}{
		"before a rendition is stored":                {before: nth(3, "renditions/"), after: never},
		"between storing and committing":              {before: never, after: nth(3, "renditions/")},
		"between storing and committing, other audio": {before: never, after: nth(3, "renditions/"), noise: true},
		"between committing and acknowledging":        {before: never, after: never, commit: true},
		"before a chapter is stored":                  {before: nth(1, "chapter-"), after: never},
		"after a chapter is stored":                   {before: never, after: nth(1, "chapter-")},
		"after the manifest is stored":                {before: never, after: nth(1, "manifest")},
		"after a sentence's file is stored":           {before: never, after: nth(1, "chapter-"), sentence: true},
		"after a sentence's manifest is stored":       {before: never, after: nth(1, "manifest"), sentence: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newForgetfulWorld(t)
			g := newGrave()
			cfg := quickConfig()
			cfg.Grace = 10 * time.Millisecond
			stop := w.start(t, cfg, &scripted{}, func(p *parts) {
				work := p.work
				p.work = func(pool string) consume.Source { return mortal{work(pool), g} }
				p.assemblies = mortalQueue{p.assemblies, g}
				p.blob = mortalBlob{w.blob, g, point.before, point.after}
				p.settle = func(s *store.Store) commit.Store { return mortalTable{s, g, point.commit} }
			})
			book := []plantest.Chapter{plantest.Sentences("One", texts(8)...), plantest.Sentences("Two", "One more.")}
			if point.sentence {
				book = book[1:]
			}
			p := w.insert(t, job.FailJob, book...)
			select {
			case <-g.died:
			case <-time.After(within):
				t.Fatal("the worker never came to the point")
			}
			stop()
			e := &scripted{}
			if point.noise {
				e.tone = func(engine.Request) float64 { return 330 }
			}
			w.start(t, quickConfig(), e, nil)
			require.Equal(t, job.StateSucceeded, plantest.AwaitEnd(t, w.db, p, within))
			w.checkBook(t, p.ID)
			w.requireOnce(t, p.ID, len(p.Segments), len(book))
		})
	}
}

// requireOnce checks that a job has each of its results exactly once.
func (w *world) requireOnce(t *testing.T, id job.ID, segments, chapters int) {
	t.Helper()
	var done, counted, ready, artifacts, attempt int
	require.NoError(t, w.db.QueryRow(t.Context(), `select segments_done, (select sum(segments_done)::int from chapters where job_id = jobs.id), chapters_ready,
		(select count(*) from artifacts where job_id = jobs.id), (select max(attempt) from segments where job_id = jobs.id) from jobs where id = $1`, id).
		Scan(&done, &counted, &ready, &artifacts, &attempt))
	require.Equal(t, []int{segments, segments, chapters, chapters + 1, 1}, []int{done, counted, ready, artifacts, attempt})
	var audio, sum float64
	require.NoError(t, w.db.QueryRow(t.Context(), `select audio_seconds, (select sum(audio_samples::float8 / sample_rate) from segments where job_id = jobs.id)
		from jobs where id = $1`, id).Scan(&audio, &sum))
	require.InDelta(t, sum, audio, 1e-6)
}

func TestALateWorkerLeavesNoTrace(t *testing.T) {
	t.Parallel()
	w := newForgetfulWorld(t)
	release, begun := make(chan struct{}), make(chan struct{}, 1)
	g := newGrave()
	slow := &scripted{tone: func(engine.Request) float64 { return 990 }, before: func(context.Context, int, []engine.Request) error {
		begun <- struct{}{}
		<-release // deaf to its context: it has lost its lease and does not know
		return nil
	}}
	cfg := quickConfig()
	cfg.CallTime = time.Minute
	stop := w.start(t, cfg, slow, func(p *parts) {
		work := p.work
		p.work = func(pool string) consume.Source { return mortal{work(pool), g} }
		p.assemblies = mortalQueue{p.assemblies, g}
	})
	p := w.insert(t, job.FailJob, plantest.Sentences("One", "Only one."))
	<-begun
	g.kill() // its messages go to somebody else; what it does to database and bucket still works
	w.start(t, quickConfig(), &scripted{}, nil)
	require.Equal(t, job.StateSucceeded, plantest.AwaitEnd(t, w.db, p, within))
	file := w.artifact(t, p.ID, "chapter-001.wav")
	close(release)
	stop()
	require.Equal(t, file, w.artifact(t, p.ID, "chapter-001.wav"))
	w.checkBook(t, p.ID)
	w.requireOnce(t, p.ID, 1, 1)
}

func TestLostAudioIsMadeAgain(t *testing.T) {
	t.Parallel()
	for name, damage := range map[string]func(t *testing.T, w *world, key string){
		"missing": func(t *testing.T, w *world, key string) {
			t.Helper()
			require.NoError(t, w.blob.Delete(t.Context(), key))
		},
		"cut short": func(t *testing.T, w *world, key string) {
			t.Helper()
			w.overwrite(t, key, w.object(t, key)[:1000])
		},
		"changed": func(t *testing.T, w *world, key string) {
			t.Helper()
			b := w.object(t, key)
			b[len(b)-1] ^= 1
			w.overwrite(t, key, b)
		},
		"no audio at all": func(t *testing.T, w *world, key string) {
			t.Helper()
			w.overwrite(t, key, make([]byte, len(w.object(t, key))))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			e := &scripted{}
			g := &gate{Store: w.blob, open: make(chan struct{})}
			w.start(t, quickConfig(), e, func(p *parts) { p.blob = g })
			p := w.insert(t, job.FailJob, plantest.Sentences("One", texts(6)...))
			require.Eventually(t, func() bool { return w.number(t, `select segments_done from jobs where id = $1`, p.ID) == 6 }, within, 20*time.Millisecond)
			damage(t, w, w.objectKey(t, p.Segments[1].RenditionKey))
			damage(t, w, w.objectKey(t, p.Segments[4].RenditionKey))
			close(g.open)
			require.Equal(t, job.StateSucceeded, plantest.AwaitEnd(t, w.db, p, within))
			w.checkBook(t, p.ID)
			require.Equal(t, 1, w.number(t, `select attempts from chapters where job_id = $1`, p.ID))
			require.Equal(t, 2, e.times(texts(6)[1]))
			require.Equal(t, 1, e.times(texts(6)[2]))
			require.Equal(t, 6, w.number(t, `select segments_done from jobs where id = $1`, p.ID))
		})
	}
}

func (w *world) overwrite(t *testing.T, key string, b []byte) {
	t.Helper()
	_, err := w.blob.Put(t.Context(), key, strings.NewReader(string(b)), int64(len(b)), blob.PutOptions{})
	require.NoError(t, err)
}

// gate holds back every read until it is opened.
type gate struct {
	*blob.Store
	open chan struct{}
}

func (g *gate) Get(ctx context.Context, key string, opt blob.GetOptions) (io.ReadCloser, blob.Info, error) {
	select {
	case <-g.open:
		return g.Store.Get(ctx, key, opt)
	case <-ctx.Done():
		return nil, blob.Info{}, &job.Error{Op: "gate", Kind: job.Unavailable, Err: ctx.Err()}
	}
}

// forgetful loses every rendition that is asked for.
type forgetful struct{ *blob.Store }

func (forgetful) Get(context.Context, string, blob.GetOptions) (io.ReadCloser, blob.Info, error) {
	return nil, blob.Info{}, &job.Error{Op: "forgetful", Kind: job.NotFound}
}

func TestAudioThatIsLostAgainAndAgainEndsTheJob(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start(t, quickConfig(), &scripted{}, func(p *parts) { p.blob = forgetful{w.blob} })
	p := w.insert(t, job.FailJob, plantest.Sentences("One", "A b c."))
	require.Equal(t, job.StateFailed, plantest.AwaitEnd(t, w.db, p, within))
	m := w.manifest(t, p.ID)
	require.Equal(t, "1 of 1 chapters failed. Chapter 1: Stored audio was missing or damaged 3 times.", m.Error.Detail)
}

func TestAMessageOfAnOldAttemptIsDropped(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	e := &scripted{}
	w.start(t, quickConfig(), e, nil)
	p := plantest.Insert(t, w.db, plantest.Book{Chapters: []plantest.Chapter{plantest.Sentences("One", "A b c.", "D e f.")}})
	bundles, err := plantest.Release(t.Context(), w.db, p)
	require.NoError(t, err)
	_, err = w.db.Exec(t.Context(), `update outstanding set attempt = 2 where job = $1`, p.Num)
	require.NoError(t, err)
	require.NoError(t, errors.Join(w.bus.PublishWork(t.Context(), bundles)...))
	w.drained(t, "an old message stays")
	require.Zero(t, e.callCount())
	bundles[0].Attempt = 2
	require.NoError(t, errors.Join(w.bus.PublishWork(t.Context(), bundles)...))
	require.Eventually(t, func() bool { return w.number(t, `select segments_done from jobs where id = $1`, p.ID) == 2 }, within, 20*time.Millisecond)
}

// drained waits until WORK has nothing for the engines.
func (w *world) drained(t *testing.T, otherwise string) {
	t.Helper()
	require.Eventually(t, func() bool {
		pending, acks, err := w.bus.WorkPending(t.Context(), "test", job.Bulk)
		return err == nil && pending+acks == 0
	}, within, 20*time.Millisecond, otherwise)
}

func TestAnAssemblyOfADeletedJobIsDropped(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start(t, quickConfig(), &scripted{}, nil)
	var drained atomic.Bool
	errs := w.bus.PublishAssembly(t.Context(), []bus.Assembly{{JobID: "job_gone", Ordinal: 1, Attempt: 1, Class: job.Bulk}, {JobID: "job_gone", Attempt: 1, Class: job.Bulk}})
	require.NoError(t, errors.Join(errs...))
	require.Eventually(t, func() bool {
		msgs, err := w.bus.FetchAssembly(t.Context(), job.Bulk, 1, 0)
		drained.Store(err == nil && len(msgs) == 0)
		for _, m := range msgs {
			_ = m.Nak()
		}
		return drained.Load()
	}, within, 100*time.Millisecond)
}
