package store_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/scheduler/internal/store"
)

// A job that is to be cancelled is planned no further, and is cancelled, though
// whoever asked for it did not come to its row.
func TestAWishToCancelEndsAPlan(t *testing.T) {
	t.Parallel()
	b := newTerm(t)
	b.Exec(t, `insert into cancellations (job_id, tenant_id) values ($1, 'default')`, b.planning)
	before := b.Count(t, `select count(*) from blocks`)
	done, err := b.Store.CommitPlans(t.Context(), []store.Plan{b.plan})
	require.NoError(t, err)
	require.Empty(t, done)
	require.Equal(t, before, b.Count(t, `select count(*) from blocks`))
	_, err = b.Store.CancelLate(t.Context(), 9)
	require.NoError(t, err)
	state, _, _ := b.State(t, b.planning)
	require.Equal(t, job.StateCancelled, state)
}

// A wish that came too late for a job does not end it when it is opened again.
func TestAWishToCancelIsOfOneLife(t *testing.T) {
	t.Parallel()
	b := newTerm(t)
	b.Exec(t, `update jobs set state = 'failed', finished_at = now(), error_kind = 'invalid' where id = $1`, b.planning)
	b.Exec(t, `insert into cancellations (job_id, tenant_id) values ($1, 'default')`, b.planning)
	b.Exec(t, `select redrive_job($1, null)`, b.planning)
	_, err := b.Store.CancelLate(t.Context(), 9)
	require.NoError(t, err)
	state, _, _ := b.State(t, b.planning)
	require.Equal(t, job.StateAccepted, state)
}
