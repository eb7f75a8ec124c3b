package pg

import (
	"context"
	"sync/atomic"

	"github.com/jackc/pgx/v5"

	"github.com/voicemill/voicemill/platform/telemetry"
)

// trips counts how often somebody waits for the server: once for a statement, for a
// batch of them, and for a statement that is prepared.
type trips struct{ n atomic.Uint64 }

var (
	_ pgx.QueryTracer    = (*trips)(nil)
	_ pgx.BatchTracer    = (*trips)(nil)
	_ pgx.PrepareTracer  = (*trips)(nil)
	_ pgx.CopyFromTracer = (*trips)(nil)
)

// Observe registers how many round trips pool has made. It is called once for a registry.
func Observe(reg *telemetry.Registry, pool *Pool) {
	if t, ok := pool.Config().ConnConfig.Tracer.(*trips); ok {
		reg.CounterFunc("voicemill_database_round_trips_total", "Times that this process waited for Postgres: for a statement, a batch of them, or one to be prepared.",
			func() float64 { return float64(t.n.Load()) })
	}
}

func (t *trips) begin(ctx context.Context) context.Context {
	t.n.Add(1)
	return ctx
}

// TraceQueryStart counts.
func (t *trips) TraceQueryStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryStartData) context.Context {
	return t.begin(ctx)
}

// TraceQueryEnd does nothing.
func (t *trips) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

// TraceBatchStart counts.
func (t *trips) TraceBatchStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceBatchStartData) context.Context {
	return t.begin(ctx)
}

// TraceBatchQuery does nothing: it waits for no answer of its own.
func (t *trips) TraceBatchQuery(context.Context, *pgx.Conn, pgx.TraceBatchQueryData) {}

// TraceBatchEnd does nothing.
func (t *trips) TraceBatchEnd(context.Context, *pgx.Conn, pgx.TraceBatchEndData) {}

// TracePrepareStart counts.
func (t *trips) TracePrepareStart(ctx context.Context, _ *pgx.Conn, _ pgx.TracePrepareStartData) context.Context {
	return t.begin(ctx)
}

// TracePrepareEnd does nothing.
func (t *trips) TracePrepareEnd(context.Context, *pgx.Conn, pgx.TracePrepareEndData) {}

// TraceCopyFromStart counts.
func (t *trips) TraceCopyFromStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceCopyFromStartData) context.Context {
	return t.begin(ctx)
}

// TraceCopyFromEnd does nothing.
func (t *trips) TraceCopyFromEnd(context.Context, *pgx.Conn, pgx.TraceCopyFromEndData) {}
