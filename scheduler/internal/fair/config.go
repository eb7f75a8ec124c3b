package fair

import (
	"fmt"
	"time"
)

// Config shapes the order of release.
type Config struct {
	MaxSegments       int           // of a bundle
	BundleWork        time.Duration // of its pool: the most that a bundle takes
	Buffer            time.Duration // of its pool: what is out beyond what the engines hold
	BuffersPerBackend int           // batches out beyond what the engines hold, static pools
	BulkBuffer        float64       // part of Buffer that bulk work may fill
	BulkBatches       float64       // and of BuffersPerBackend
	InteractiveShare  float64       // of a pool, while bulk work waits; less than 1
	TenantShare       float64       // of what may be out, that one tenant may always have while others wait
	UrgentFactor      float64       // a bulk job is urgent when its slack is less than this times its remaining time
	Silence           time.Duration // after which a worker that reports nothing does not count
	JobsPerTenant     int           // of one pool and class
	MaxJobs           int           // in all; a tenant may have MinJobs beyond it
	MinJobs           int
}

// DefaultConfig returns what bulk speech needs.
func DefaultConfig() Config {
	return Config{
		MaxSegments: 16, BundleWork: time.Second, Buffer: time.Second, BuffersPerBackend: 2, BulkBuffer: 0.5, BulkBatches: 0.9,
		InteractiveShare: 0.8, TenantShare: 0.5, UrgentFactor: 1.5, Silence: 15 * time.Second,
		JobsPerTenant: 100_000, MaxJobs: 400_000, MinJobs: 16,
	}
}

// Validate reports the first setting that cannot be.
func (c Config) Validate() error {
	switch {
	case c.MaxSegments < 1 || c.BundleWork <= 0 || c.Buffer <= 0 || c.BuffersPerBackend < 1:
		return fmt.Errorf("fair: max_segments is %d, bundle_work %s, buffer %s, buffers_per_backend %d; all must be positive",
			c.MaxSegments, c.BundleWork, c.Buffer, c.BuffersPerBackend)
	case !within(c.BulkBuffer) || !within(c.BulkBatches) || !within(c.InteractiveShare) || !within(c.TenantShare):
		return fmt.Errorf("fair: bulk_buffer is %v, bulk_batches %v, interactive_share %v, tenant_share %v; all must be between 0 and 1",
			c.BulkBuffer, c.BulkBatches, c.InteractiveShare, c.TenantShare)
	case c.UrgentFactor < 1:
		return fmt.Errorf("fair: urgent_factor is %v; must be 1 or more", c.UrgentFactor)
	case c.Silence <= 0:
		return fmt.Errorf("fair: silence is %s; must be positive", c.Silence)
	case c.MinJobs < 1 || c.JobsPerTenant < c.MinJobs || c.MaxJobs < c.JobsPerTenant:
		return fmt.Errorf("fair: min_jobs is %d, jobs_per_tenant %d, max_jobs %d; they must be positive and in this order", c.MinJobs, c.JobsPerTenant, c.MaxJobs)
	}
	return nil
}

func within(share float64) bool { return share > 0 && share < 1 }
