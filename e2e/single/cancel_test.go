package single_test

import (
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/e2e/internal/caller"
	"github.com/voicemill/voicemill/e2e/internal/stage"
	"github.com/voicemill/voicemill/job"
)

// TestACancelCountsWhereverItMeetsItsJob cancels jobs from zero to some
// milliseconds after they were accepted: on their way through JOBS, while their
// row is being written, planned, released or spoken.
func TestACancelCountsWhereverItMeetsItsJob(t *testing.T) {
	t.Parallel()
	ctx := limited(t)
	s := stage.NewSolo(t, bin, stage.SoloConfig{})
	c := caller.New(t, s)

	const clients, each = 4, 50
	var mu sync.Mutex
	answered := map[string]job.State{}
	var all sync.WaitGroup
	for client := range clients {
		all.Go(func() {
			for n := range each {
				accepted, err := c.Submit(ctx, "", line("Never mind."))
				if err != nil {
					t.Error(err)
					return
				}
				pause(ctx, time.Duration(n*clients+client)*200*time.Microsecond)
				doc, err := c.Cancel(ctx, string(accepted.ID))
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				answered[string(doc.ID)] = doc.State
				mu.Unlock()
			}
		})
	}
	all.Wait()
	require.Len(t, answered, clients*each)
	cancelled := 0
	for id, state := range answered {
		require.True(t, state.Final(), "%s was answered %s", id, state)
		if state == job.StateCancelled {
			cancelled++
		}
		// What was answered stays; a job that is spoken all the same would show it.
		doc, err := c.Job(ctx, id)
		require.NoError(t, err)
		require.Equal(t, state, doc.State, id)
	}
	t.Logf("%d of %d jobs cancelled, the others had ended", cancelled, len(answered))
	require.Positive(t, cancelled)
}
