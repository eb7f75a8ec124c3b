package store_test

import (
	"context"
	"reflect"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/pg"
	"github.com/voicemill/voicemill/scheduler/internal/backlog"
	"github.com/voicemill/voicemill/scheduler/internal/store"
	"github.com/voicemill/voicemill/scheduler/internal/storetest"
)

// term is a database with one of everything that a leader may write, and the
// names of it.
type term struct {
	*storetest.Base
	accepted, planning, queued job.ID
	plan                       store.Plan
	bundle                     store.BundleID
	delivery                   string
	tenants                    []int32
	export                     store.Export
}

func newTerm(t *testing.T) *term {
	t.Helper()
	b := &term{Base: storetest.New(t), delivery: "dlv_1"}
	spec := job.Spec{Input: job.Input{Text: "One."}}
	b.accepted, b.planning = b.Accept(t, tenant, spec), b.Accept(t, tenant, spec)
	b.queued = b.Queue(t, tenant, spec, 1, 2, 3)
	b.One(t, `update jobs set state = 'planning', plan_attempts = 1 where id = $1 returning num`, []any{b.planning}, &b.plan.Num)
	b.plan.ID, b.plan.Attempt, b.plan.Tenant, b.plan.Class = b.planning, 1, tenant, job.Bulk
	b.plan.Chapters = func(yield func(*store.Chapter, error) bool) {
		key := job.Rendition{Tenant: tenant, Text: "One."}.Key()
		digest := job.NewOrderDigest()
		digest.Add(key)
		yield(&store.Chapter{Ordinal: 1, Matter: "body", FirstSegment: 1, Digest: digest.Sum(), Segments: []store.PlannedSegment{
			{N: 1, Chapter: 1, Text: "One.", Pool: storetest.Pool, Break: "chapter", Seconds: 1, SampleRate: 1, RenditionKey: key},
		}}, nil)
	}
	b.bundle = store.BundleID{N: 1, Attempt: 1}
	b.One(t, `insert into outstanding (job, n, attempt, pool, mask, seconds) select num, 1, 1, $2, 3, 3 from jobs where id = $1 returning job`,
		[]any{b.queued, storetest.Pool}, &b.bundle.Job)
	for _, sql := range []string{
		`insert into deliveries (id, tenant_id, job_id, event, url, payload) values ('dlv_1', 'default', $1, 'job.started', 'https://example.org', '')`,
		`insert into deliveries (id, tenant_id, job_id, event, url, payload, state, delivered_at)
			values ('dlv_2', 'default', $1, 'job.failed', 'https://example.org', '', 'delivered', '2000-01-01')`,
		`insert into cancellations (job_id, tenant_id, created_at) values ($1, 'default', '2000-01-01')`,
		`insert into uploads (id, tenant_id, media_type, max_bytes, object_key, expires_at) values ('upl_1', 'default', 'text/plain', 1, $1, '2000-01-01')`,
		`insert into retries (job, n, pool) select num, 3, 'espeak' from jobs where id = $1`,
		`insert into job_changes (job, recalled) select num, false from jobs where id = $1`,
		`insert into virtual_times select 'espeak', 'bulk', $1, 1`,
	} {
		b.Exec(t, sql, b.queued)
	}
	b.Exec(t, `insert into deliveries (id, tenant_id, job_id, event, url, payload, held, next_attempt_at)
		values ('dlv_3', 'default', $1, 'job.cancelled', 'https://example.org', '', true, 'infinity')`, b.planning)
	b.Exec(t, `insert into stored_changes (tenant, renditions) select num, 2 from tenants`)
	b.Exec(t, `insert into renditions (key, tenant, sample_rate, samples, bytes, sha256, used_on) select sha256('old'), num, 1, 1, 1, sha256(''), '2000-01-01' from tenants`)
	b.Exec(t, `insert into exports (job, tenant_id, bucket_id) values ($1, 'default', 'bkt_1')`, b.bundle.Job)
	b.export = store.Export{Job: b.bundle.Job, Round: 1}
	var err error
	b.tenants, err = b.Store.TenantsAfter(t.Context(), 0, 9)
	require.NoError(t, err)
	return b
}

// calls are all that a leader writes, by the name of the method.
func (b *term) calls() map[string]func(context.Context, *store.Leased) error {
	type call = func(context.Context, *store.Leased) error
	return map[string]call{
		"Claim": func(ctx context.Context, s *store.Leased) error {
			_, err := s.Claim(ctx, store.Ask{Class: job.Bulk, Limit: 9})
			return err
		},
		"ClaimAgain":        func(ctx context.Context, s *store.Leased) error { _, err := s.ClaimAgain(ctx, b.planning); return err },
		"RefundPlanAttempt": func(ctx context.Context, s *store.Leased) error { return s.RefundPlanAttempt(ctx, b.planning) },
		"FailPlan": func(ctx context.Context, s *store.Leased) error {
			_, err := s.FailPlan(ctx, b.planning, job.Invalid, "x")
			return err
		},
		"CommitPlans": func(ctx context.Context, s *store.Leased) error {
			_, err := s.CommitPlans(ctx, []store.Plan{b.plan})
			return err
		},
		"ClaimDeliveries": func(ctx context.Context, s *store.Leased) error {
			_, err := s.ClaimDeliveries(ctx, 9, time.Minute, nil, nil)
			return err
		},
		"FreeDeliveries": func(ctx context.Context, s *store.Leased) error { return s.FreeDeliveries(ctx) },
		"PostponeDelivery": func(ctx context.Context, s *store.Leased) error {
			return s.PostponeDelivery(ctx, b.delivery, time.Minute)
		},
		"SavePayload": func(ctx context.Context, s *store.Leased) error {
			_, err := s.SavePayload(ctx, b.delivery, "{}")
			return err
		},
		"SettleDelivery": func(ctx context.Context, s *store.Leased) error {
			return s.SettleDelivery(ctx, b.delivery, store.Attempt{N: 1, State: "delivered"})
		},
		"DeleteOld": func(ctx context.Context, s *store.Leased) error {
			_, err := s.DeleteOld(ctx, store.OldCancellations, time.Hour, 9)
			return err
		},
		"DeleteUploads": func(ctx context.Context, s *store.Leased) error { return s.DeleteUploads(ctx, []string{"upl_1"}) },
		"CancelLate":    func(ctx context.Context, s *store.Leased) error { _, err := s.CancelLate(ctx, 9); return err },
		"Step": func(ctx context.Context, s *store.Leased) error {
			_, err := s.Step(ctx, store.Step{Starts: []store.Start{{Job: b.bundle.Job}}, Times: []store.VirtualTime{{Pool: "x", Class: job.Bulk, Value: 2}}})
			return err
		},
		"Split": func(ctx context.Context, s *store.Leased) error { return s.Split(ctx, b.bundle) },
		"Fail": func(ctx context.Context, s *store.Leased) error {
			_, err := s.Fail(ctx, b.bundle, 1, 1, job.TooLarge, "x")
			return err
		},
		"Drop": func(ctx context.Context, s *store.Leased) error { return s.Drop(ctx, []store.BundleID{b.bundle}) },
		"ForgetChanges": func(ctx context.Context, s *store.Leased) error {
			list, err := s.Changes(ctx, 9)
			if err != nil {
				return err
			}
			return s.ForgetChanges(ctx, list)
		},
		"SaveEstimates": func(ctx context.Context, s *store.Leased) error {
			return s.SaveEstimates(ctx, []store.Estimate{{Num: b.bundle.Job, ETA: time.Now(), Low: time.Now(), High: time.Now()}})
		},
		"SaveSpeeds": func(ctx context.Context, s *store.Leased) error {
			return s.SaveSpeeds(ctx, []backlog.Speed{{Pool: storetest.Pool, Audio: 10}})
		},
		"Expire": func(ctx context.Context, s *store.Leased) error {
			_, err := s.Expire(ctx, store.KeptDeliveries, b.tenants, time.Microsecond, 9)
			return err
		},
		"EvictSurplus": func(ctx context.Context, s *store.Leased) error {
			_, err := s.EvictSurplus(ctx, b.tenants, 1, 9)
			return err
		},
		"Tally":       func(ctx context.Context, s *store.Leased) error { _, err := s.Tally(ctx, 9); return err },
		"SumStored":   func(ctx context.Context, s *store.Leased) error { return s.SumStored(ctx, 9) },
		"DropOrphans": func(ctx context.Context, s *store.Leased) error { return s.DropOrphans(ctx, []string{"jobs/orphan"}) },
		"GarbageGone": func(ctx context.Context, s *store.Leased) error { return s.GarbageGone(ctx, []string{"jobs/orphan"}) },
		"PlanExport": func(ctx context.Context, s *store.Leased) error {
			_, err := s.PlanExport(ctx, b.export, []store.ExportFile{{Name: "x", Path: "x", MediaType: "text/plain", SHA256: make([]byte, 32), Content: "x"}})
			return err
		},
		"BeginExportUpload": func(ctx context.Context, s *store.Leased) error { return s.BeginExportUpload(ctx, b.export, "x", "1") },
		"PostponeExport": func(ctx context.Context, s *store.Leased) error {
			_, err := s.PostponeExport(ctx, b.export, time.Minute, job.Unavailable, "x", false)
			return err
		},
		"ExportFileDone": func(ctx context.Context, s *store.Leased) error {
			_, err := s.ExportFileDone(ctx, b.export, "x")
			return err
		},
		"EndExport": func(ctx context.Context, s *store.Leased) error {
			_, err := s.EndExport(ctx, b.export, store.ExportDelivered, "", "")
			return err
		},
		"ForgetGarbage": func(ctx context.Context, s *store.Leased) error { return s.ForgetGarbage(ctx, []string{"jobs/orphan"}) },
		"Forget": func(ctx context.Context, s *store.Leased) error {
			return s.Forget(ctx, []store.VirtualTime{{Pool: storetest.Pool, Class: job.Bulk, Tenant: job.Tenant(b.queued)}})
		},
	}
}

// Whatever a leader writes it writes under its lease: one that was paused and
// goes on when another leads changes nothing.
func TestALeaderThatComesBackAfterAPauseChangesNothing(t *testing.T) {
	t.Parallel()
	b := newTerm(t)
	old := b.Store.Under(pg.Lease{Name: "storetest", Epoch: 1})
	b.Exec(t, `update leases set epoch = 2`)
	calls := b.calls()
	all, shared := reflect.TypeFor[*store.Leased](), reflect.TypeFor[*store.Store]()
	for m := range all.Methods() {
		name := m.Name
		if _, of := shared.MethodByName(name); !of {
			require.Contains(t, calls, name, "a leader's method that this test does not call")
		}
	}
	before := b.Digest(t)
	for name, call := range calls {
		err := call(t.Context(), old)
		require.True(t, pg.IsLeaseLost(err), "%s: %v", name, err)
		require.Equal(t, before, b.Digest(t), "%s changed something", name)
	}
	b.Exec(t, `insert into cancellations (job_id, tenant_id) values ($1, 'default')`, b.accepted)
	before = b.Digest(t)
	for _, name := range []string{ // those that need no other to have been before
		"Claim", "ClaimAgain", "RefundPlanAttempt", "CommitPlans", "PostponeDelivery", "SettleDelivery", "FreeDeliveries", "SavePayload", "DeleteOld", "DeleteUploads",
		"Step", "Split", "Forget", "CancelLate", "ForgetChanges", "SaveSpeeds", "SaveEstimates", "Expire", "SumStored", "DropOrphans", "GarbageGone", "ForgetGarbage",
		"PlanExport", "BeginExportUpload", "PostponeExport", "ExportFileDone", "EndExport",
	} {
		require.NoError(t, calls[name](t.Context(), b.Store.Under(pg.Lease{Name: "storetest", Epoch: 2})), name)
		now := b.Digest(t)
		require.NotEqual(t, before, now, "%s has nothing to do here, so the test shows nothing", name)
		before = now
	}
}

// A planner that is stopped in the middle of a plan neither keeps another from
// leading nor stores the rest.
func TestAPlanThatATakeoverInterruptsStoresNothing(t *testing.T) {
	t.Parallel()
	b := newTerm(t)
	chapters := b.plan.Chapters
	b.plan.Chapters = func(yield func(*store.Chapter, error) bool) {
		b.Exec(t, `set lock_timeout = '5s'; update leases set epoch = 2`)
		chapters(yield)
	}
	before := b.Count(t, `select count(*) from blocks`)
	_, err := b.Store.CommitPlans(t.Context(), []store.Plan{b.plan})
	require.True(t, pg.IsLeaseLost(err), "%v", err)
	require.Equal(t, before, b.Count(t, `select count(*) from blocks`))
	state, _, _ := b.State(t, b.planning)
	require.Equal(t, job.StatePlanning, state)
	done, err := b.Store.Under(pg.Lease{Name: "storetest", Epoch: 2}).CommitPlans(t.Context(), []store.Plan{b.plan})
	require.NoError(t, err)
	require.Len(t, done, 1)
}
