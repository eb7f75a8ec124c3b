package store

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/voicemill/voicemill/api/jobdoc"
	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/config"
	"github.com/voicemill/voicemill/platform/pg"
)

// Delivery is one callback that is due.
type Delivery struct {
	ID       string
	Tenant   job.Tenant
	JobID    job.ID
	Event    string
	Ordinal  int // of the chapter for chapter.ready
	Sequence int // of the job's events, from 1
	URL      string
	Payload  string // empty until the first attempt
	Attempts int    // made so far
	At       time.Time
	Secret   config.Secret
}

// ClaimDeliveries returns up to limit due deliveries and keeps every other
// process from them for lease. Deliveries to busyHosts (host and port as in
// the URL, lower case) and of busyTenants are left alone.
func (s *Leased) ClaimDeliveries(
	ctx context.Context, limit int, lease time.Duration, busyHosts []string, busyTenants []job.Tenant,
) ([]Delivery, error) {
	if busyHosts == nil {
		busyHosts = []string{}
	}
	return change(ctx, s, "ClaimDeliveries", []any{limit, lease.Seconds(), busyHosts, names(busyTenants)}, func(r pgx.CollectableRow) (d Delivery, err error) {
		var secret string
		err = r.Scan(&d.ID, &d.Tenant, &d.JobID, &d.Event, &d.Ordinal, &d.Sequence, &d.URL, &d.Payload, &d.Attempts, &d.At, &secret)
		d.Secret = config.NewSecret(secret)
		return d, err
	})
}

// FreeDeliveries lets go what a scheduler of an older version left held.
func (s *Leased) FreeDeliveries(ctx context.Context) error {
	_, err := s.exec(ctx, "FreeDeliveries")
	return err
}

// PostponeDelivery gives a claimed delivery back, due again after wait.
func (s *Leased) PostponeDelivery(ctx context.Context, id string, wait time.Duration) error {
	_, err := s.exec(ctx, "PostponeDelivery", id, wait.Seconds())
	return err
}

// SavePayload stores the body of a delivery unless it has one, and returns the
// one that counts.
func (s *Leased) SavePayload(ctx context.Context, id, payload string) (string, error) {
	if _, err := s.exec(ctx, "SavePayload", id, payload); err != nil {
		return "", err
	}
	err := s.pool.QueryRow(ctx, s.q.Get("Payload"), id).Scan(&payload)
	return payload, pg.Classify(err)
}

// Attempt is what came of one try of a delivery.
type Attempt struct {
	N        int // 1 for the first
	Status   int // of the answer; 0 if there was none
	Error    string
	Duration time.Duration
	State    string // of the delivery afterwards: pending, delivered or failed
	Wait     time.Duration
}

// SettleDelivery records an attempt, moves its delivery on and lets the next event
// of the job go, or holds it for a minute. An attempt that was recorded already
// changes nothing.
func (s *Leased) SettleDelivery(ctx context.Context, id string, a Attempt) error {
	var status *int
	if a.Status != 0 {
		status = &a.Status
	}
	b := s.batch()
	b.Queue(s.q.Get("LockDelivery"), id)
	b.Queue(s.q.Get("SettleDelivery"), id, a.N, a.State, status, orNull(a.Error), a.Wait.Seconds())
	b.Queue(s.q.Get("RecordAttempt"), id, a.N, status, orNull(a.Error), a.Duration.Milliseconds())
	b.Queue(s.q.Get("FreeNextDelivery"), id)
	return s.send(ctx, b)
}

// Document returns the document of a job as of now, job.NotFound if there is none.
func (s *Store) Document(ctx context.Context, id job.ID) (jobdoc.Document, error) {
	var row jobdoc.Row
	if err := s.pool.QueryRow(ctx, jobdoc.SelectJob(), string(id)).Scan(row.Targets()...); err != nil {
		return jobdoc.Document{}, pg.Classify(err)
	}
	return jobdoc.Build(&row, time.Now())
}
