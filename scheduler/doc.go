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
// parts run in the one that holds the leader's lock, and move to another within
// seconds when it dies. All writes are fenced by the state of their rows, so
// two leaders for a moment do no harm.
package scheduler
