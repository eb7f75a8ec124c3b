package gateway_test

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/gateway"
	"github.com/voicemill/voicemill/gateway/internal/limit"
)

// limited sets a quota and waits until the gateway knows. What came in before that has
// no place in it, and is taken away.
func (w *world) limited(columns string) {
	w.t.Helper()
	w.exec(`insert into quotas (tenant_id) values ('default')`)
	w.exec(`update quotas set ` + columns)
	early := 0
	require.Eventually(w.t, func() bool {
		status := w.call("POST", "/v1/jobs", hello).Status
		if status == http.StatusAccepted {
			early++
		}
		return status == http.StatusTooManyRequests
	}, time.Minute, 10*time.Millisecond)
	if early > 0 {
		w.take(early)
	}
}

func TestOverItsQuotaATenantIsToldWhichAndUntilWhen(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		none, some string // of the quota
		free       string // makes room again
		says       string
		wait       time.Duration // at most
	}{
		"open jobs":   {`open_jobs = 0`, `open_jobs = 1`, `update jobs set state = 'cancelled', finished_at = now()`, "open jobs", time.Minute},
		"characters":  {`characters_day = 1`, `characters_day = 14`, `update jobs set state = 'failed', error_kind = 'engine', finished_at = now()`, "characters", 24 * time.Hour},
		"outstanding": {`outstanding_seconds = 0`, `outstanding_seconds = 0.1`, `update jobs set state = 'cancelled', finished_at = now()`, "audio", time.Minute},
		"stored":      {`stored_bytes = 0`, `stored_bytes = 1`, `delete from stored`, "stored", time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, nil)
			w.limited(tt.none)
			a := w.call("POST", "/v1/jobs", hello)
			require.Equal(t, "/problems/quota-exceeded", a.problem(t).Type)
			require.Contains(t, a.problem(t).Detail, tt.says)
			wait, err := strconv.Atoi(a.Header.Get("Retry-After"))
			require.NoError(t, err)
			require.LessOrEqual(t, time.Duration(wait)*time.Second, tt.wait)
			require.Positive(t, wait)
			require.Equal(t, http.StatusAccepted, w.call("POST", "/v1/jobs", hello, "Authorization", "Bearer "+w.other).Status, "others have none")
			w.take(1)

			w.exec(`update quotas set ` + tt.some)
			require.Equal(t, http.StatusAccepted, w.call("POST", "/v1/jobs", hello, "Idempotency-Key", "k").Status)
			require.Equal(t, http.StatusAccepted, w.call("POST", "/v1/jobs", hello, "Idempotency-Key", "k").Status, "the same job again takes no second place")
			j := w.take(2)[0]
			if name == "stored" {
				w.exec(`insert into stored (tenant, renditions) select num, 5 from tenants where id = 'default'`)
			}
			require.Equal(t, http.StatusTooManyRequests, w.call("POST", "/v1/jobs", hello).Status, "it is on its way")
			w.write(j)
			w.exec(`update jobs set asked = 13 where id = $1`, j.ID)
			require.Equal(t, http.StatusTooManyRequests, w.call("POST", "/v1/jobs", hello).Status, "its row counts")
			w.exec(tt.free)
			require.Equal(t, http.StatusAccepted, w.call("POST", "/v1/jobs", hello).Status)
		})
	}
}

func TestManySubmittersNeverGetMoreThanTheQuota(t *testing.T) {
	t.Parallel()
	const open, submitters, each = 50, 64, 3
	w := newWorld(t, func(c *gateway.Config) { c.KeyRate, c.TenantRate = limit.Rate{}, limit.Rate{} })
	w.limited(`open_jobs = 0`)
	w.exec(`update quotas set open_jobs = $1`, open)
	var all sync.WaitGroup
	var mu sync.Mutex // guards got
	got := map[int]int{}
	for n := range submitters {
		all.Go(func() {
			for i := range each {
				body, path, media := hello, "/v1/jobs", "application/json"
				if i == 1 { // as a batch of two
					body, path, media = hello+"\n"+hello, "/v1/jobs:batch", "application/x-ndjson"
				}
				a, err := w.try(t.Context(), "POST", path, body, "Content-Type", media, "Idempotency-Key", fmt.Sprintf("%d-%d", n, i))
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				if i == 1 {
					for line := range strings.Lines(string(a.Body)) {
						if strings.Contains(line, `"status":202`) {
							got[http.StatusAccepted]++
						} else if !strings.Contains(line, "quota-exceeded") {
							t.Error(line)
						}
					}
				} else {
					got[a.Status]++
				}
				mu.Unlock()
			}
		})
	}
	all.Wait()
	require.Equal(t, open, got[http.StatusAccepted], "%v", got)
	w.take(open)
}

// The bytes that are declared for documents count as stored until their places go;
// nobody comes to the bound with them, so that a job of them can be handed in.
func TestPlacesForDocumentsCountInTheQuota(t *testing.T) {
	t.Parallel()
	const bytes, bound, fit, submitters = 10, 105, 10, 64
	w := newWorld(t, func(c *gateway.Config) { c.KeyRate, c.TenantRate = limit.Rate{}, limit.Rate{} })
	want := fmt.Sprintf(`{"media_type": "text/plain", "bytes": %d}`, bytes)
	ask := func(key string) answer {
		t.Helper()
		return w.call("POST", "/v1/uploads", want, "Idempotency-Key", key)
	}
	recount := func(want int) {
		t.Helper()
		var tally, rows int
		require.NoError(t, w.db.QueryRow(t.Context(), `select stored_bytes('default'), (select coalesce(sum(max_bytes), 0) from uploads)`).Scan(&tally, &rows))
		require.Equal(t, []int{want, want}, []int{tally, rows})
	}
	require.Equal(t, http.StatusCreated, ask("first").Status)
	w.exec(`insert into quotas (tenant_id, stored_bytes) values ('default', $1)`, bound)
	var all sync.WaitGroup
	var granted atomic.Int32
	for n := range submitters {
		all.Go(func() {
			if a, err := w.try(t.Context(), "POST", "/v1/uploads", want, "Idempotency-Key", strconv.Itoa(n)); err != nil {
				t.Error(err)
			} else if a.Status == http.StatusCreated {
				granted.Add(1)
			}
		})
	}
	all.Wait()
	require.Equal(t, fit-1, int(granted.Load()))
	recount(fit * bytes)
	require.Equal(t, http.StatusCreated, ask("first").Status, "the same place again takes nothing more")
	a := ask("one-more")
	require.Equal(t, "/problems/quota-exceeded", a.problem(t).Type)
	require.Contains(t, a.problem(t).Detail, "has stored 100 bytes")
	require.Equal(t, http.StatusAccepted, w.call("POST", "/v1/jobs", hello).Status)

	w.exec(`delete from uploads where id in (select id from uploads limit 3)`)
	recount((fit - 3) * bytes)
	require.Equal(t, http.StatusCreated, ask("one-more").Status)
	recount((fit - 2) * bytes)
}
