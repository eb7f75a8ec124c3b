package scheduler_test

import (
	"context"
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/telemetry"
	"github.com/voicemill/voicemill/platform/testkit"
	"github.com/voicemill/voicemill/scheduler/internal/backlog"
	"github.com/voicemill/voicemill/scheduler/internal/storetest"
)

// Scaling from nothing begins with one line, let out or not, while no worker is there.
func TestOneLineIsWorthAWorkerWhenNoneIsThere(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	admin, err := telemetry.NewAdmin(t.Context(), "127.0.0.1:0", telemetry.NewRegistry(), testkit.Log(t))
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- admin.Run(ctx) }()
	t.Cleanup(func() { cancel(); require.NoError(t, <-served) })
	b.Queue(t, storetest.Tenant, job.Spec{Class: job.Interactive}, 3)
	b.Exec(t, `insert into outstanding (job, n, attempt, pool, mask, seconds) select job, 1, 1, pool, 1, 3 from queues`)
	b.Exec(t, `delete from queues`)
	b.deps.Admin = admin
	b.run(t)

	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+admin.Addr().String()+"/backlog", http.NoBody)
	require.NoError(t, err)
	answer, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	defer func() { require.NoError(t, answer.Body.Close()) }()
	var got struct{ Pools map[string]backlog.Pool }
	require.NoError(t, json.NewDecoder(answer.Body).Decode(&got))
	p := got.Pools[storetest.Pool]
	require.Equal(t, 1, p.DesiredReplicas)
	require.Zero(t, p.Replicas)
	require.InDelta(t, 0.3, p.GPUSeconds, 1e-9, "at the speed of the settings")
	require.False(t, p.Measured)
	require.Positive(t, p.Classes[job.Interactive].OldestSeconds)
	require.Less(t, p.Classes[job.Interactive].OldestSeconds, time.Minute.Seconds())
	require.Equal(t, backlog.Class{}, p.Classes[job.Bulk])
}
