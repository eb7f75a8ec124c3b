// Package scheduler is the service that decides: it takes accepted jobs out of
// JOBS into Postgres, plans them, lets out a bounded window of work, and tells
// their owners what happened.
//
// Its parts never call each other's insides; they meet in Postgres and wake
// each other with nudges that may be lost:
//
//	intake ──▶ plan ──▶ release ──▶ WORK ──▶ (workers) ──▶ outbox, callback
//
// Any number of schedulers may run. Intake runs in all of them; the other
// parts run in the one that holds the lease, and move to another within seconds
// when it dies, hangs or is cut off. Whatever they write is fenced by the epoch
// of the lease and by the state of its rows: a leader that was stopped and goes
// on when another leads changes nothing.
package scheduler
