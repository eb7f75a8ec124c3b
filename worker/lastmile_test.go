package worker

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/blob"
	"github.com/voicemill/voicemill/platform/testkit"
	"github.com/voicemill/voicemill/worker/internal/assemble"
	"github.com/voicemill/voicemill/worker/internal/consume"
	"github.com/voicemill/voicemill/worker/internal/plantest"
	"github.com/voicemill/voicemill/worker/internal/store"
)

// refusing does not take the files of one job, ever.
type refusing struct {
	*blob.Store
	id   job.ID
	what string
}

func (b *refusing) Put(ctx context.Context, key string, r io.Reader, size int64, opt blob.PutOptions) (blob.Info, error) {
	if strings.Contains(key, string(b.id)+"/") && strings.Contains(key, b.what) {
		return blob.Info{}, &job.Error{Op: "refusing", Kind: job.TooLarge, Public: "The file is too large for the bucket.", Err: errors.New("EntityTooLarge")}
	}
	return b.Store.Put(ctx, key, r, size, opt)
}

func TestAJoinThatCannotSucceedEndsItsJobAndHoldsNobodyUp(t *testing.T) {
	t.Parallel()
	for what, want := range map[string]struct {
		kind   string
		detail string
	}{
		"chapter-": {dueJoin, "1 of 1 chapters failed. Chapter 1: The audio could not be joined in 5 tries. The file is too large for the bucket."},
		"manifest": {dueEnd, "The description of the audio could not be made in 5 tries. The file is too large for the bucket."},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			bad := plantest.Insert(t, w.db, plantest.Book{Chapters: []plantest.Chapter{plantest.Sentences("One", "One a.", "One b.")}})
			good := plantest.Insert(t, w.db, plantest.Book{Chapters: []plantest.Chapter{plantest.Sentences("One", "Two a.", "Two b.")}})
			cfg := quickConfig()
			cfg.RetryDelay, cfg.Assemblies = 300*time.Millisecond, 1
			w.start(t, cfg, &scripted{}, func(p *parts) { p.blob = &refusing{w.blob, bad.ID, what} })
			plantest.Schedule(t, w.db, w.bus, bad)
			require.Eventually(t, func() bool {
				return w.number(t, `select count(*) from outbox where kind = $1 and started > 0 and error_kind = 'too_large'`, want.kind) == 1
			}, within, 10*time.Millisecond)
			plantest.Schedule(t, w.db, w.bus, good)
			require.Equal(t, job.StateSucceeded, plantest.AwaitEnd(t, w.db, good, within))
			require.Equal(t, job.StateFailed, plantest.AwaitEnd(t, w.db, bad, within))
			var kind, detail string
			require.NoError(t, w.db.QueryRow(t.Context(), `select error_kind, error_detail from jobs where id = $1`, bad.ID).Scan(&kind, &detail))
			require.Equal(t, []string{"internal", want.detail}, []string{kind, detail})
			require.Equal(t, 1, w.number(t, `select count(*) from outbox where kind = $1 and parked_at is not null and started = 5`, want.kind))
		})
	}
}

const (
	dueJoin = "assemble"
	dueEnd  = "finish"
)

// rotation is a real bucket whose keys do not fit while told so.
type rotation struct {
	wrong   atomic.Bool
	refused atomic.Int64
}

func (r *rotation) open(t *testing.T, part string) *blob.Store {
	t.Helper()
	cfg := testkit.S3Config(t)
	direct := &url.URL{Scheme: "http", Host: cfg.Endpoint}
	proxy := &httputil.ReverseProxy{Rewrite: func(req *httputil.ProxyRequest) {
		req.SetURL(direct)
		req.Out.Host = req.In.Host // it is part of the signature
	}}
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, req *http.Request) {
		if !r.wrong.Load() || req.Method == http.MethodGet || !strings.Contains(req.URL.Path, part) {
			proxy.ServeHTTP(rw, req)
			return
		}
		r.refused.Add(1)
		rw.Header().Set("Content-Type", "application/xml")
		rw.WriteHeader(http.StatusForbidden)
		_, _ = io.WriteString(rw, "<Error><Code>RequestTimeTooSkewed</Code><Message>no</Message></Error>")
	}))
	t.Cleanup(server.Close)
	cfg.Endpoint = strings.TrimPrefix(server.URL, "http://")
	s, err := blob.Open(t.Context(), cfg)
	require.NoError(t, err)
	t.Cleanup(s.Close)
	return s
}

func TestKeysThatAreRotatedDoNotEndAFinishedJob(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var r rotation
	w.blob = r.open(t, "manifest")
	r.wrong.Store(true)
	cfg := quickConfig()
	cfg.Hold = 300 * time.Millisecond // so that it is put off, too
	w.start(t, cfg, &scripted{}, nil)
	p := w.insert(t, job.FailJob, plantest.Sentences("One", "A b c.", "D e f."))
	require.Eventually(t, func() bool { return r.refused.Load() >= 8 }, within, 10*time.Millisecond)
	require.Equal(t, 1, w.number(t, `select count(*) from jobs where id = $1 and state = 'assembling'`, p.ID))
	r.wrong.Store(false)
	require.Equal(t, job.StateSucceeded, plantest.AwaitEnd(t, w.db, p, within))
	w.checkBook(t, p.ID)
}

// counting counts claims.
type counting struct {
	consume.Claims
	n atomic.Int64
}

func (c *counting) Claim(ctx context.Context, claims []store.Claim) ([]store.Claimed, error) {
	c.n.Add(1)
	return c.Claims.Claim(ctx, claims)
}

func TestASchemaThatDoesNotFitIsAskedWithGrowingPauses(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string][2]string{
		"of what is out": {`alter table outstanding rename column mask to bits`, `alter table outstanding rename column bits to mask`},
		"of renditions":  {`alter table renditions rename column key to hash`, `alter table renditions rename column hash to key`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			p := plantest.Insert(t, w.db, plantest.Book{Chapters: []plantest.Chapter{plantest.Sentences("One", texts(20)...)}})
			bundles, err := plantest.Release(t.Context(), w.db, p)
			require.NoError(t, err)
			_, err = w.db.Exec(t.Context(), fault[0])
			require.NoError(t, err)
			c := &counting{}
			e := &scripted{}
			begun := time.Now()
			w.start(t, quickConfig(), e, func(p *parts) {
				p.claims = func(s *store.Store) consume.Claims { c.Claims = s; return c }
			})
			require.NoError(t, errors.Join(w.bus.PublishWork(t.Context(), bundles)...))
			require.Eventually(t, func() bool { return c.n.Load() >= 4 }, within, 10*time.Millisecond)
			require.Greater(t, time.Since(begun), time.Second, "it asks without a pause")
			require.Less(t, c.n.Load(), int64(10))
			require.Zero(t, e.callCount())
			_, err = w.db.Exec(t.Context(), fault[1])
			require.NoError(t, err)
			plantest.Schedule(t, w.db, w.bus, p)
			require.Equal(t, job.StateSucceeded, plantest.AwaitEnd(t, w.db, p, within))
			require.Equal(t, 1, w.attempts(t, p.ID))
		})
	}
}

func TestASentenceIsAFileWithoutQueueingForIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start(t, quickConfig(), &scripted{}, nil)
	p := plantest.Insert(t, w.db, plantest.Book{Class: job.Interactive, Chapters: []plantest.Chapter{plantest.Sentences("One", "A sentence.")}})
	bundles, err := plantest.Release(t.Context(), w.db, p)
	require.NoError(t, err)
	require.NoError(t, errors.Join(w.bus.PublishWork(t.Context(), bundles)...))
	require.Equal(t, job.StateSucceeded, plantest.AwaitEnd(t, w.db, p, within), "nobody released its outbox row")
	w.checkBook(t, p.ID)
	w.requireOnce(t, p.ID, 1, 1)
}

// slowJoins takes its time for the chapters of bulk jobs.
type slowJoins struct {
	*blob.Store
	bulk job.ID
	open chan struct{}
	held atomic.Int64
}

func (b *slowJoins) Put(ctx context.Context, key string, r io.Reader, size int64, opt blob.PutOptions) (blob.Info, error) {
	if strings.Contains(key, string(b.bulk)+"/") {
		b.held.Add(1)
		select {
		case <-b.open:
		case <-ctx.Done():
		}
	}
	return b.Store.Put(ctx, key, r, size, opt)
}

func TestAnInteractiveJobDoesNotWaitForTheJoinsOfABook(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var chapters []plantest.Chapter
	for _, text := range texts(8) {
		chapters = append(chapters, plantest.Sentences("A chapter", text))
	}
	book := plantest.Insert(t, w.db, plantest.Book{Chapters: chapters})
	note := plantest.Insert(t, w.db, plantest.Book{Class: job.Interactive, Chapters: []plantest.Chapter{plantest.Sentences("One", "A note.", "It ends.")}})
	slow := &slowJoins{Store: w.blob, bulk: book.ID, open: make(chan struct{})}
	w.start(t, quickConfig(), &scripted{}, func(p *parts) { p.blob = slow })
	plantest.Schedule(t, w.db, w.bus, book)
	require.Eventually(t, func() bool { return slow.held.Load() >= 2 }, within, 10*time.Millisecond, "every worker of joins has a chapter of the book")
	plantest.Schedule(t, w.db, w.bus, note)
	require.Equal(t, job.StateSucceeded, plantest.AwaitEnd(t, w.db, note, within))
	require.Equal(t, 0, w.number(t, `select chapters_ready from jobs where id = $1`, book.ID))
	close(slow.open)
	require.Equal(t, job.StateSucceeded, plantest.AwaitEnd(t, w.db, book, within))
}

func TestAChapterWhoseAudioWasMadeAnewForAnotherJobIsJoinedAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	held := &slowJoins{Store: w.blob, open: make(chan struct{})}
	p := plantest.Insert(t, w.db, plantest.Book{Chapters: []plantest.Chapter{plantest.Sentences("One", "A b c.", "D e f."), plantest.Sentences("Two", "G h i.")}})
	w.start(t, quickConfig(), &scripted{}, func(p *parts) { p.blob = &late{held, "chapter-002"} })
	plantest.Schedule(t, w.db, w.bus, p)
	require.Eventually(t, func() bool { return w.number(t, `select chapters_ready from jobs where id = $1`, p.ID) == 1 }, within, 10*time.Millisecond)
	_, err := w.db.Exec(t.Context(), `delete from renditions where encode(key, 'hex') = $1`, p.Segments[1].RenditionKey)
	require.NoError(t, err)
	close(held.open)
	require.Equal(t, job.StateSucceeded, plantest.AwaitEnd(t, w.db, p, within))
	m := w.checkBook(t, p.ID)
	require.Equal(t, m.Digests.Plan, m.Digests.Proof)
	require.Equal(t, 3, w.number(t, `select segments_done from jobs where id = $1`, p.ID))
}

// late holds back one file.
type late struct {
	*slowJoins
	name string
}

func (b *late) Put(ctx context.Context, key string, r io.Reader, size int64, opt blob.PutOptions) (blob.Info, error) {
	if strings.Contains(key, b.name) {
		<-b.open
	}
	return b.Store.Put(ctx, key, r, size, opt)
}

var _ assemble.Blob = (*late)(nil)
