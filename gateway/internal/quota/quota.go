// Package quota knows which tenants have a quota: only their submits ask the
// database for a place, all others pay nothing.
package quota

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/lifecycle"
)

// refreshEvery is how long a quota that was just set may be overlooked.
const refreshEvery = 2 * time.Second

// Source lists the tenants that have a quota.
type Source interface {
	QuotaTenants(ctx context.Context) ([]job.Tenant, error)
}

// Directory is a copy of that list. It is safe for concurrent use. A nil one has nobody.
type Directory struct {
	src     Source
	log     *slog.Logger
	current atomic.Pointer[map[job.Tenant]bool]
}

// NewDirectory returns a directory that knows nothing yet. Run fills it.
func NewDirectory(src Source, log *slog.Logger) *Directory {
	return &Directory{src: src, log: log}
}

// Has reports whether a tenant has a quota, or may have one: nothing is known yet.
func (d *Directory) Has(tenant job.Tenant) bool {
	if d == nil {
		return false
	}
	p := d.current.Load()
	return p == nil || (*p)[tenant]
}

// Run refreshes the directory until ctx is done. A source that is away leaves it
// as it is.
func (d *Directory) Run(ctx context.Context) error {
	for {
		if err := d.Refresh(ctx); err != nil {
			d.log.DebugContext(ctx, "quotas not refreshed", slog.String("error", err.Error()))
		}
		if !lifecycle.Sleep(ctx, refreshEvery) {
			return nil
		}
	}
}

// Refresh reads the list once.
func (d *Directory) Refresh(ctx context.Context) error {
	list, err := d.src.QuotaTenants(ctx)
	if err != nil {
		return fmt.Errorf("list tenants with a quota: %w", err)
	}
	have := make(map[job.Tenant]bool, len(list))
	for _, t := range list {
		have[t] = true
	}
	d.current.Store(&have)
	return nil
}
