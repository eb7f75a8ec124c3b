package documents_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/api/jobdoc"
	"github.com/voicemill/voicemill/gateway/internal/documents"
	"github.com/voicemill/voicemill/job"
)

const tenant job.Tenant = "t"

func newCache(tb testing.TB) *documents.Cache {
	tb.Helper()
	c, err := documents.New(documents.DefaultConfig())
	require.NoError(tb, err)
	return c
}

func state(id job.ID, version int64, s job.State) *documents.Document {
	return &documents.Document{
		Tenant: tenant, Job: &jobdoc.Document{ID: id, Version: version, State: s}, Body: []byte(`{}`), ETag: fmt.Sprint(version),
	}
}

func running(version int64) *documents.Document { return state("j", version, job.StateRunning) }

// nobody joins without caring for the answer.
func nobody(*documents.Document, error) {}

// begin begins a reading of job j.
func begin(tb testing.TB, c *documents.Cache, at time.Time) *documents.Reading {
	tb.Helper()
	d, r := c.Join(tenant, "j", at, nobody)
	require.Nil(tb, d)
	require.NotNil(tb, r)
	return r
}

func TestADocumentIsBelievedFromTheBeginOfItsReadingOn(t *testing.T) {
	t.Parallel()
	c, now := newCache(t), time.Now()
	require.Nil(t, c.Lookup(tenant, []byte("j"), now))
	d := running(3)
	begin(t, c, now).Settle(d, nil)
	require.Same(t, d, c.Lookup(tenant, []byte("j"), now.Add(time.Second-1)))
	require.Nil(t, c.Lookup(tenant, []byte("j"), now.Add(time.Second)))
	require.Nil(t, c.Lookup("other", []byte("j"), now), "the tenant is part of the key")
	again, r := c.Join(tenant, "j", now, nobody)
	require.Same(t, d, again)
	require.Nil(t, r)
	c.Sweep(now.Add(time.Second))
	require.Zero(t, c.Bytes())
}

func TestOneReadingServesAllWhoAskMeanwhile(t *testing.T) {
	t.Parallel()
	c, now := newCache(t), time.Now()
	r := begin(t, c, now)
	var got []string
	for n := range 3 {
		d, first := c.Join(tenant, "j", now, func(d *documents.Document, _ error) { got = append(got, fmt.Sprintf("%d: %s", n, d.ETag)) })
		require.Nil(t, d)
		require.Nil(t, first)
	}
	r.Settle(running(2), nil)
	require.Equal(t, []string{"0: 2", "1: 2", "2: 2"}, got)

	away := errors.New("away")
	failed := begin(t, c, now.Add(time.Hour))
	var err error
	_, _ = c.Join(tenant, "j", now.Add(time.Hour), func(_ *documents.Document, e error) { err = e })
	failed.Settle(nil, away)
	require.ErrorIs(t, err, away)
	begin(t, c, now.Add(time.Hour)) // a failure is not kept
}

func TestWhatIsKnownToBeOlderIsDroppedAndNotKept(t *testing.T) {
	t.Parallel()
	now := time.Now()
	doc := func(version int64, s job.State) *jobdoc.Document {
		return &jobdoc.Document{ID: "j", Version: version, State: s}
	}
	for name, c := range map[string]struct {
		news     func(*documents.Cache)
		outcome  *documents.Document
		kept     bool // a document of before
		outlives bool // the outcome of a reading of before
	}{
		"a hint of a later version":                 {func(c *documents.Cache) { c.Hint("j", 4) }, running(3), false, false},
		"a hint of what the reading has":            {func(c *documents.Cache) { c.Hint("j", 4) }, running(4), false, true},
		"a late hint":                               {func(c *documents.Cache) { c.Hint("j", 3) }, running(3), true, true},
		"a later version was shown":                 {func(c *documents.Cache) { c.Seen(doc(4, job.StateRunning)) }, running(3), false, false},
		"the same version was shown":                {func(c *documents.Cache) { c.Seen(doc(3, job.StateRunning)) }, running(3), true, true},
		"the end was shown, of the same version":    {func(c *documents.Cache) { c.Seen(doc(3, job.StateCancelled)) }, running(3), false, false},
		"this process changed it":                   {func(c *documents.Cache) { c.Forget("j") }, running(9), false, false},
		"news of another job":                       {func(c *documents.Cache) { c.Forget("k") }, running(3), true, true},
		"an older version was read by another call": {func(c *documents.Cache) { c.Seen(doc(2, job.StateRunning)) }, running(3), true, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			before := newCache(t)
			begin(t, before, now).Settle(running(3), nil)
			c.news(before)
			require.Equal(t, c.kept, before.Lookup(tenant, []byte("j"), now) != nil)

			during := newCache(t)
			r := begin(t, during, now)
			c.news(during)
			r.Settle(c.outcome, nil)
			require.Equal(t, c.outlives, during.Lookup(tenant, []byte("j"), now) != nil)
		})
	}
}

func TestNobodyJoinsAReadingThatMayBeOutOfDate(t *testing.T) {
	t.Parallel()
	c, now := newCache(t), time.Now()
	slow := begin(t, c, now)
	c.Hint("j", 5)
	fresh := begin(t, c, now)
	fresh.Settle(running(5), nil)
	slow.Settle(running(4), nil)
	require.Equal(t, "5", c.Lookup(tenant, []byte("j"), now).ETag)

	c.Forget("j")
	first, second := begin(t, c, now), begin2(t, c, now)
	second.Settle(running(7), nil)
	c.Forget("j") // as an eviction would, but for the mark on first
	first.Settle(running(6), nil)
	require.Nil(t, c.Lookup(tenant, []byte("j"), now))
}

// begin2 begins a second reading beside one that nobody may join.
func begin2(tb testing.TB, c *documents.Cache, at time.Time) *documents.Reading {
	tb.Helper()
	c.Hint("j", 0)
	return begin(tb, c, at)
}

func TestTheOldestGoesWhenThereIsNoRoom(t *testing.T) {
	t.Parallel()
	cfg := documents.Config{Bytes: 1 << 20, MaxAge: time.Minute}
	c, err := documents.New(cfg)
	require.NoError(t, err)
	now := time.Now()
	keep := func(id job.ID, size int) {
		_, r := c.Join(tenant, id, now, nobody)
		d := state(id, 1, job.StateRunning)
		d.Body = []byte(strings.Repeat("x", size))
		r.Settle(d, nil)
	}
	for n := range 2000 {
		keep(job.ID(fmt.Sprint("job_", n)), 4<<10)
		require.LessOrEqual(t, c.Bytes(), cfg.Bytes)
	}
	require.NotNil(t, c.Lookup(tenant, []byte("job_1999"), now))
	require.Nil(t, c.Lookup(tenant, []byte("job_0"), now))
	require.Greater(t, c.Bytes(), cfg.Bytes/2)
	keep("huge", 64<<10)
	require.Nil(t, c.Lookup(tenant, []byte("huge"), now))
	c.Sweep(now.Add(time.Hour))
	require.Zero(t, c.Bytes())
}

func TestNothingIsKeptWithoutAnAge(t *testing.T) {
	t.Parallel()
	c, err := documents.New(documents.Config{Bytes: 1 << 20})
	require.NoError(t, err)
	now := time.Now()
	begin(t, c, now).Settle(running(1), nil)
	begin(t, c, now)
}

// Versions go up while many read and ask; nobody is shown one that is older than
// one that was shown to somebody before they asked.
func TestNobodyIsShownLessThanWasShownBefore(t *testing.T) {
	t.Parallel()
	c := newCache(t)
	var truth version
	var shown version
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 3000 {
				atLeast := shown.get()
				check := func(d *documents.Document, _ error) {
					if d.Job.Version < atLeast {
						t.Errorf("shown version %d after %d", d.Job.Version, atLeast)
					}
					shown.raise(d.Job.Version)
				}
				d, r := c.Join(tenant, "j", time.Now(), check)
				switch {
				case d != nil:
					check(d, nil)
				case r != nil:
					r.Settle(running(truth.get()), nil)
				}
			}
		})
	}
	all.Go(func() {
		for n := range int64(3000) {
			truth.raise(n)
			switch n % 3 {
			case 0:
				c.Hint("j", n)
			case 1:
				c.Seen(running(n).Job)
				shown.raise(n)
			}
		}
	})
	all.Wait()
}

type version struct {
	mu sync.Mutex
	n  int64
}

func (v *version) get() int64 {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.n
}

func (v *version) raise(n int64) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.n = max(v.n, n)
}

func TestALookupAllocatesNothing(t *testing.T) {
	c, now := newCache(t), time.Now()
	begin(t, c, now).Settle(running(1), nil)
	id := []byte("j")
	require.Zero(t, testing.AllocsPerRun(1000, func() { c.Lookup(tenant, id, now) }))
}

func TestSettingsThatMakeNoSenseAreRefused(t *testing.T) {
	t.Parallel()
	for name, cfg := range map[string]documents.Config{
		"no room": {MaxAge: time.Second}, "a negative age": {Bytes: 1 << 20, MaxAge: -1}, "an hour": {Bytes: 1 << 20, MaxAge: time.Hour},
	} {
		_, err := documents.New(cfg)
		require.Error(t, err, name)
	}
}

func BenchmarkLookup(b *testing.B) {
	c, now := newCache(b), time.Now()
	begin(b, c, now).Settle(running(1), nil)
	id := []byte("j")
	for b.Loop() {
		c.Lookup(tenant, id, now)
	}
}
