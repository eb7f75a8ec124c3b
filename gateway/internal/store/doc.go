// Package store is the gateway's view of Postgres: API keys, job documents,
// uploads, idempotency keys and cancellations. The statements stand in sql/,
// named; every method is one short transaction and bounds its own time.
//
// A circuit breaker stands before the database: after a few failures in a row
// calls fail at once for a moment, so that an absent database costs its callers
// microseconds and no queue. [Store.Probe] opens it at a refusal and closes it
// again.
//
// Errors are *job.Error: NotFound, Conflict, Unavailable or Internal.
package store
