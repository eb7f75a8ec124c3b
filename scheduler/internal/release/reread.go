package release

import (
	"context"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/scheduler/internal/store"
)

// recalledJobs are the jobs of which a command took back what was out.
func recalledJobs(changes []store.Change) map[int64]bool {
	back := map[int64]bool{}
	for i := range changes {
		if changes[i].Recalled {
			back[changes[i].Num] = true
		}
	}
	return back
}

// reread forgets what is known of jobs that commands changed and reads what
// waits of them: their terms are other ones, or they wait no more, or again.
// What they were charged stays; who comes again begins at the system's time.
func (l *loop) reread(ctx context.Context) error {
	if len(l.changes) == 0 {
		return nil
	}
	changed := make(map[int64]bool, len(l.changes))
	ids, nums := make([]job.ID, 0, len(l.changes)), make([]int64, 0, len(l.changes))
	for i := range l.changes {
		if c := &l.changes[i]; !changed[c.Num] {
			changed[c.Num] = true
			ids, nums = append(ids, c.ID), append(nums, c.Num)
		}
	}
	l.drop(changed)
	queues, err := l.store.QueuesOf(ctx, ids)
	if err != nil {
		return err
	}
	l.offer(queues)
	retries, err := l.store.RetriesOf(ctx, nums, page)
	if err != nil {
		return err
	}
	l.offerRetries(retries) // what is beyond a page is found by the scan
	if err := l.store.ForgetChanges(ctx, l.changes); err != nil {
		return err
	}
	for i := range l.changes {
		l.r.deps.Bus.Hint(l.changes[i].ID, l.changes[i].Version.Version)
	}
	l.changes = nil
	return nil
}

// drop takes out of memory what waits of jobs, their terms and their blocks.
func (l *loop) drop(jobs map[int64]bool) {
	for _, e := range l.waits.queues {
		if jobs[e.owner.Num] {
			l.remove(e)
		}
	}
	for _, e := range l.waits.retries {
		if jobs[e.owner.Num] {
			l.remove(e)
		}
	}
	for _, e := range l.waits.joins {
		if jobs[e.owner.Num] {
			l.remove(e) // the scan of the outbox finds it
		}
	}
	for id := range l.blocks.known {
		if jobs[id.Job] {
			l.blocks.drop(id)
		}
	}
	for num := range jobs {
		delete(l.terms, num)
	}
}
