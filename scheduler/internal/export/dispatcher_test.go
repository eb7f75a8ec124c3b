package export_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/blob"
	"github.com/voicemill/voicemill/platform/config"
	"github.com/voicemill/voicemill/platform/pg"
	"github.com/voicemill/voicemill/platform/testkit"
	"github.com/voicemill/voicemill/scheduler/internal/storetest"
)

func TestFilesArriveAndTheOwnerIsTold(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	require.Equal(t, state{State: "pending"}, b.state(t), "due with the end of the job")
	stop := b.run(t, quick())
	require.Equal(t, state{State: "delivered", Done: 3, Total: 3}, b.await(t, ended))
	b.arrived(t)
	stop()
	require.Equal(t, job.EventDelivered, b.events(t))
	d, err := b.Store.Document(t.Context(), b.id)
	require.NoError(t, err)
	require.Equal(t, job.StateSucceeded, d.State)
	require.Equal(t, "delivered", d.Delivery.State)
	require.Equal(t, bucketID, d.Delivery.Bucket)
	require.Equal(t, 3, d.Delivery.Files.Done)
	require.Nil(t, d.Delivery.Error)
	require.NotNil(t, d.Delivery.EndedAt)
}

// cut runs a Dispatcher that dies with request n of its life: before it leaves, or after it
// arrived and before anybody hears of it. It reports whether that request was made.
func (b *bench) cut(t *testing.T, n int64, arrives bool) bool {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var made atomic.Int64
	b.door.set(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if at := made.Add(1); at < n {
				next.ServeHTTP(w, r)
				return
			} else if at == n && arrives {
				next.ServeHTTP(httptest.NewRecorder(), r)
			}
			cancel()
			panic(http.ErrAbortHandler)
		})
	})
	defer b.door.set(nil)
	done := make(chan error, 1)
	go func() { done <- b.dispatcher(t, quick()).Run(ctx, b.Store) }()
	for ctx.Err() == nil && !ended(b.state(t)) {
		select {
		case <-ctx.Done():
		case <-time.After(time.Millisecond):
		}
	}
	cancel()
	require.NoError(t, <-done)
	return made.Load() >= n
}

// The proof of idempotence: a death at any request, on either side of it, and the next
// Dispatcher ends well with every byte in its place.
func TestADeathAtAnyStepLosesNothing(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	points := 0
	for n := int64(1); ; n++ {
		reached := false
		for _, arrives := range []bool{false, true} {
			b.empty(t)
			b.Exec(t, `select * from deliver_job($1, null)`, b.id)
			if reached = b.cut(t, n, arrives); !reached {
				break
			}
			points++
			stop := b.run(t, quick())
			require.Equal(t, "delivered", b.await(t, ended).State, "request %d", n)
			stop()
			b.arrived(t)
		}
		if !reached {
			break
		}
	}
	// Three files: ask, put, ask; ask, begin, two parts, complete, ask; ask, put, ask.
	require.Equal(t, 2*12, points)
	require.Zero(t, b.Count(t, `select count(*) from export_files where upload_id is not null`))
	uploads, err := b.theirs.SweepUploads(t.Context(), time.Now().Add(time.Hour))
	require.NoError(t, err)
	require.Equal(t, 1, uploads, "of uploads in parts that one alone is left of whose begin nobody heard")
}

func TestABucketThatIsAwayIsWaitedFor(t *testing.T) {
	t.Parallel()
	away := 300 * time.Millisecond
	if text := os.Getenv("VOICEMILL_EXPORT_AWAY"); text != "" {
		var err error
		away, err = time.ParseDuration(text)
		require.NoError(t, err)
	}
	b := newBench(t)
	b.door.set(closed)
	b.run(t, quick())
	s := b.await(t, func(s state) bool { return s.Attempts > 2 })
	require.Equal(t, "pending", s.State)
	require.Equal(t, job.Unavailable.String(), s.Kind)
	require.Contains(t, s.Detail, "the store could not be reached")
	require.NotContains(t, s.Detail, "127.0.0.1")
	d, err := b.Store.Document(t.Context(), b.id)
	require.NoError(t, err)
	require.Equal(t, job.StateSucceeded, d.State, "the job stays as it ended")
	require.Equal(t, "pending", d.Delivery.State)
	require.Equal(t, "unavailable", d.Delivery.Error.Kind)
	select {
	case <-t.Context().Done():
	case <-time.After(away):
	}
	require.Equal(t, "pending", b.state(t).State)
	b.door.set(nil)
	s = b.await(t, ended)
	require.Equal(t, state{State: "delivered", Done: 3, Total: 3}, s)
	b.arrived(t)
	require.Equal(t, job.EventDelivered, b.events(t))
}

func TestABucketThatStaysAwayIsGivenUp(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.door.set(closed)
	cfg := quick()
	cfg.Patience = 100 * time.Millisecond
	b.run(t, cfg)
	s := b.await(t, ended)
	require.Equal(t, "failed", s.State)
	require.Equal(t, "unavailable", s.Kind)
	require.Equal(t, job.EventDeliveryFailed, b.events(t))
	b.door.set(nil)
	b.deliver(t)
	require.Equal(t, "delivered", b.await(t, ended).State)
}

// deliver asks for the delivery again, as the API does.
func (b *bench) deliver(t *testing.T) {
	t.Helper()
	var state string
	var changed bool
	var refused *string
	b.One(t, `select state, changed, refused from deliver_job($1, $2)`, []any{b.id, storetest.Tenant}, &state, &changed, &refused)
	require.Nil(t, refused)
	require.True(t, changed)
}

func TestCredentialsThatAreWrongEndTheDeliveryAndNotTheJob(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	wrong := b.cred
	wrong.SecretKey = config.NewSecret("not-the-secret-key")
	b.keep(t, wrong)
	b.run(t, quick())
	s := b.await(t, ended)
	require.Equal(t, "failed", s.State)
	require.Equal(t, "unauthorized", s.Kind)
	require.Contains(t, s.Detail, "SignatureDoesNotMatch: the secret key is not that of the access key")
	d, err := b.Store.Document(t.Context(), b.id)
	require.NoError(t, err)
	require.Equal(t, job.StateSucceeded, d.State)
	require.Equal(t, s.Detail, d.Delivery.Error.Detail)
	require.Equal(t, job.EventDeliveryFailed, b.events(t))

	b.keep(t, b.cred)
	b.deliver(t)
	require.Equal(t, "delivered", b.await(t, ended).State)
	b.arrived(t)
	require.Equal(t, job.EventDeliveryFailed+" "+job.EventDelivered, b.events(t))
}

func TestWhatCannotBeUsedIsNamed(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change string
		says   string
	}{
		"a bucket that was deleted":     {`delete from buckets`, "The bucket was deleted."},
		"one of another tenant":         {`update buckets set tenant_id = 'other'`, "The bucket was deleted."},
		"credentials of another bucket": {`update buckets set sealed = sealed || '\x00'`, "cannot be read; set them again"},
		"a bucket that is gone":         {`update buckets set bucket = 'nobody-has-it'`, "NoSuchBucket"},
		"an address no more allowed":    {`update buckets set endpoint = 'ftp://x'`, "cannot be used as it is set: endpoint"},
	} {
		b := newBench(t)
		b.AddTenant(t, "other")
		b.Exec(t, c.change)
		stop := b.run(t, quick())
		s := b.await(t, ended)
		stop()
		require.Equal(t, "failed", s.State, name)
		require.Contains(t, s.Detail, c.says, name)
	}
}

func TestAKeyThatIsMissingIsWaitedFor(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.Exec(t, `update buckets set sealed_by = 'newer'`)
	b.run(t, quick())
	s := b.await(t, func(s state) bool { return s.Attempts > 1 })
	require.Equal(t, "pending", s.State)
	require.Contains(t, s.Detail, "has not configured the key")
	b.Exec(t, `update buckets set sealed_by = 'test'`)
	require.Equal(t, "delivered", b.await(t, ended).State)
}

func TestAJobThatIsOpenedAgainIsDeliveredAgain(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.run(t, quick())
	b.await(t, ended)
	b.Exec(t, `update jobs set state = 'running', finished_at = null, proof_digest = null, reopened = reopened + 1 where id = $1`, b.id)
	b.files["An Author/A Book/001.wav"] = []byte("spoken otherwise")
	b.artifact(t, "chapter-001.wav", b.files["An Author/A Book/001.wav"])
	b.Exec(t, `delete from deliveries`)
	b.finish(t)
	require.Equal(t, state{State: "delivered", Done: 3, Total: 3}, b.await(t, ended))
	b.arrived(t)
	require.Equal(t, job.EventDelivered, b.events(t))
}

// A file that was replaced while it was to be copied: what goes where is found out anew.
func TestAFileThatWasReplacedIsFoundAgain(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.door.set(closed)
	b.run(t, quick())
	b.await(t, func(s state) bool { return s.Total == 3 })
	var key string
	b.One(t, `select object_key from artifacts where name = 'chapter-001.wav'`, nil, &key)
	require.NoError(t, b.own.Delete(t.Context(), key))
	b.files["An Author/A Book/001.wav"] = []byte("another file")
	b.artifact(t, "chapter-001.wav", b.files["An Author/A Book/001.wav"])
	b.door.set(nil)
	require.Equal(t, "delivered", b.await(t, ended).State)
	b.arrived(t)
}

func TestADamagedFileIsNotDelivered(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.Exec(t, `update artifacts set sha256 = sha256('other') where name = 'chapter-001.wav'`)
	b.run(t, quick())
	s := b.await(t, ended)
	require.Equal(t, "failed", s.State)
	require.Equal(t, "internal", s.Kind)
	require.Contains(t, s.Detail, "damaged in our own bucket")
}

func TestADeletedJobIsForgotten(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.door.set(closed)
	b.run(t, quick())
	b.await(t, func(s state) bool { return s.Attempts > 0 })
	b.Exec(t, `select forget_job($1)`, b.num)
	require.Zero(t, b.Count(t, `select count(*) from exports`)+b.Count(t, `select count(*) from export_files`))
}

func TestWhatIsOnItsWayIsKept(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.Exec(t, `update jobs set finished_at = now() - interval '1 day'`)
	var tenant int32
	b.One(t, `select num from tenants where id = $1`, []any{storetest.Tenant}, &tenant)
	expire := func(want int) {
		for _, kind := range []string{"ForgetTexts", "ForgetAudio", "ForgetJobs"} {
			n, err := b.Store.Expire(t.Context(), kind, []int32{tenant}, time.Hour, 10)
			require.NoError(t, err)
			require.Equal(t, want, n, kind)
		}
	}
	expire(0)
	b.Exec(t, `update exports set state = 'failed', error_kind = 'unavailable', ended_at = now()`)
	expire(1)
	require.Zero(t, b.Count(t, `select count(*) from exports`), "it goes with its job")
}

// The same with processes that are really killed, at the steps that matter most; all of
// them with VOICEMILL_EXPORT_KILLS=all.
func TestAProcessThatIsKilledLosesNothing(t *testing.T) {
	t.Parallel()
	cfg := testkit.S3Config(t)
	own, err := blob.Open(t.Context(), cfg)
	require.NoError(t, err)
	t.Cleanup(own.Close)
	dsn := testkit.PostgresDSN(t)
	db, err := pg.Connect(t.Context(), pg.Config{DSN: config.NewSecret(dsn)}, testkit.Log(t))
	require.NoError(t, err)
	t.Cleanup(db.Close)
	b := over(t, storetest.Over(t, db), own)
	says, err := json.Marshal(works{dsn, cfg.Endpoint, cfg.Region, cfg.Bucket, cfg.AccessKey, cfg.SecretKey.Reveal()})
	require.NoError(t, err)
	steps := []int64{2, 6, 8}
	if os.Getenv("VOICEMILL_EXPORT_KILLS") == "all" {
		steps = []int64{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}
	}
	for _, n := range steps {
		b.empty(t)
		b.Exec(t, `select * from deliver_job($1, null)`, b.id)
		b.kill(t, string(says), n)
		stop := b.run(t, quick())
		require.Equal(t, "delivered", b.await(t, ended).State, "request %d", n)
		stop()
		b.arrived(t)
	}
}

// kill starts a child and kills it when its request n has arrived.
func (b *bench) kill(t *testing.T, says string, n int64) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0]) //nolint:gosec // this program
	cmd.Env = append(os.Environ(), childWorks+"="+says)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	var made atomic.Int64
	arrived := make(chan struct{})
	b.door.set(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch at := made.Add(1); {
			case at < n:
				next.ServeHTTP(w, r)
				return
			case at == n:
				next.ServeHTTP(httptest.NewRecorder(), r)
				close(arrived)
				<-r.Context().Done() // until it is dead
			}
			panic(http.ErrAbortHandler)
		})
	})
	require.NoError(t, cmd.Start())
	select {
	case <-arrived:
	case <-time.After(time.Minute):
		t.Errorf("the child made %d requests of %d: %s", made.Load(), n, stderr.String())
	}
	require.NoError(t, cmd.Process.Kill())
	require.Error(t, cmd.Wait(), "it was killed")
	b.door.set(nil)
}
