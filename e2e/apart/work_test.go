package apart_test

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/job"
)

const (
	// A server that misses its leader waits 4 to 9 s before it stands for election,
	// and no setting changes that: most elections are over in 8 s, and none takes so long.
	goesOnMostly = 8 * time.Second
	goesOnWithin = 25 * time.Second
	fewKills     = 1 // without VOICEMILL_FAULT_ROUNDS
	bookLines    = 250
	moreThanOut  = 150 // segments, more than were with workers or on their way to them
)

// lines is a job of many segments that are its alone.
func lines(name string) map[string]any {
	list := make([]map[string]any, bookLines)
	for i := range list {
		list[i] = map[string]any{"text": fmt.Sprintf("This is line %d of book %s, and nobody has said it before.", i, name)}
	}
	return map[string]any{"input": map[string]any{"segments": list}, "class": "bulk", "language": "en"}
}

func TestWorkGoesOnInSecondsWhenTheLeaderOfWORKIsKilled(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 55*time.Minute)
	defer cancel()
	kills := fewKills
	if n, err := strconv.Atoi(os.Getenv("VOICEMILL_FAULT_ROUNDS")); err == nil {
		kills = n
	}
	s, c := deploy(ctx, t)
	s.requireCopies(ctx, t)
	var ids []string
	finished := func() (n int) {
		for _, id := range ids {
			doc, err := c.Job(ctx, id)
			require.NoError(t, err)
			n += doc.Progress.Segments.Done
		}
		return n
	}
	var slowest time.Duration
	inTime := 0
	for kill := range kills {
		for len(ids)*bookLines-finished() < bookLines {
			doc, err := c.Submit(ctx, "", lines(fmt.Sprint(len(ids))))
			require.NoError(t, err)
			ids = append(ids, string(doc.ID))
		}
		before := finished()
		require.Eventually(t, func() bool { return finished() > before }, time.Minute, 10*time.Millisecond)
		leader := "nats-" + strings.TrimPrefix(s.stream(ctx, t, "WORK").Leader, "n")
		require.NoError(t, s.stop(leader, syscall.SIGKILL))
		took := longestPause(t, finished)
		slowest = max(slowest, took)
		if took < goesOnMostly {
			inTime++
		}
		t.Logf("kill %d: no segment was finished for %s", kill, took)
		require.Less(t, took, goesOnWithin)
		s.nats(t, leader)
		s.ready(ctx, t)
		require.Eventually(t, func() bool { return s.stream(ctx, t, "WORK").Current }, time.Minute, 50*time.Millisecond)
	}
	for _, id := range ids {
		doc, err := c.Await(ctx, id)
		require.NoError(t, err)
		require.Equal(t, job.StateSucceeded, doc.State, "%+v %+v", doc.Error, doc.Failures)
		require.Equal(t, bookLines, doc.Progress.Segments.Done+doc.Progress.Segments.Reused)
	}
	t.Logf("%d books succeeded; work went on within %s after %d of %d kills, at the latest after %s", len(ids), goesOnMostly, inTime, kills, slowest)
}

// longestPause watches until more is finished than had been let out. It returns
// the longest time in which nothing was finished.
func longestPause(t *testing.T, finished func() int) (longest time.Duration) {
	t.Helper()
	done, last := finished(), time.Now()
	until := done + moreThanOut
	require.Eventually(t, func() bool {
		now := finished()
		longest = max(longest, time.Since(last).Round(10*time.Millisecond))
		if now > done {
			done, last = now, time.Now()
		}
		return done > until
	}, 2*time.Minute, 20*time.Millisecond)
	return longest
}
