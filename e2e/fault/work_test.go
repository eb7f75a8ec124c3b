package fault_test

import (
	"context"
	"fmt"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/e2e/internal/stage"
	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/config"
	"github.com/voicemill/voicemill/platform/pg"
	"github.com/voicemill/voicemill/platform/testkit"
)

const (
	goesOn     = 2 * time.Second // after NATS came back
	bookLines  = 250
	enoughLeft = 150 // segments that wait when NATS is killed
)

// lines is a job of many segments that are its alone.
func lines(name, callback string) map[string]any {
	list := make([]map[string]any, bookLines)
	for i := range list {
		list[i] = map[string]any{"text": fmt.Sprintf("This is line %d of book %s, and nobody has said it before.", i, name)}
	}
	return map[string]any{"input": map[string]any{"segments": list}, "class": "bulk", "language": "en", "callback": map[string]any{"url": callback}}
}

// WORK ends with its server. What was out is out again at once, and more goes
// out, while a backlog waits.
func TestWorkGoesOnInSecondsWhenItsServerIsKilled(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Minute)
	defer cancel()
	box := &inbox{got: map[string]map[string]int{}}
	receiver := httptest.NewServer(box)
	t.Cleanup(receiver.Close)
	s := stage.New(t, bin)
	c := newClient(t, s)
	db, err := pg.Connect(ctx, pg.Config{DSN: config.NewSecret(s.Setting("VOICEMILL_DB_DSN"))}, testkit.Log(t))
	require.NoError(t, err)
	t.Cleanup(db.Close)
	var ids []string
	var slowest time.Duration
	for round := range faultRounds(t) {
		for left := 0; left < enoughLeft; {
			doc, err := c.submit(ctx, fmt.Sprintf("book-%d", len(ids)), lines(fmt.Sprint(len(ids)), receiver.URL))
			require.NoError(t, err)
			ids = append(ids, string(doc.ID))
			require.NoError(t, db.QueryRow(ctx, `select $1::int - coalesce(sum(segments_done), 0) from jobs`, bookLines*len(ids)).Scan(&left))
		}
		require.Eventually(t, func() bool {
			var out int
			return db.QueryRow(ctx, `select count(*) from outstanding where started > 0`).Scan(&out) == nil && out > 0
		}, time.Minute, time.Millisecond)
		s.Kill(stage.NATS)
		require.NoError(t, s.Start(ctx, stage.NATS))
		took := longestPause(ctx, t, db)
		slowest = max(slowest, took)
		t.Logf("round %d: no segment was finished for %s", round, took)
		require.Less(t, took, goesOn)
	}
	for _, id := range ids {
		doc, err := c.await(ctx, id)
		require.NoError(t, err)
		require.Equal(t, job.StateSucceeded, doc.State, "%s: %+v", id, doc.Error)
		require.Equal(t, bookLines, doc.Progress.Segments.Done+doc.Progress.Segments.Reused)
		requireOneCallback(ctx, t, box, id)
	}
	require.Equal(t, len(ids), countJobs(ctx, t, c), "jobs were doubled")
	t.Logf("%d books succeeded; at the latest work went on after %s", len(ids), slowest)
}

// longestPause watches until more is finished than had been let out when it
// began. It returns the longest time in which nothing was finished.
func longestPause(ctx context.Context, t *testing.T, db *pg.Pool) (longest time.Duration) {
	t.Helper()
	var done, released int
	require.NoError(t, db.QueryRow(ctx, `select (select coalesce(sum(segments_done), 0) from jobs),
		(select coalesce(sum(bit_count(mask::bit(64))), 0) from outstanding)`).Scan(&done, &released))
	last, until := time.Now(), done+released
	require.Eventually(t, func() bool {
		var now int
		if err := db.QueryRow(ctx, `select sum(segments_done) from jobs`).Scan(&now); err != nil {
			return false
		}
		longest = max(longest, time.Since(last).Round(10*time.Millisecond))
		if now > done {
			done, last = now, time.Now()
		}
		return done > until
	}, time.Minute, time.Millisecond)
	return longest
}
