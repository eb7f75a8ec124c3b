// Package housekeeping ends what has had its time, a bounded number of rows at
// a time: idempotency keys, uploads, cancellations, delivered callbacks. It also
// applies the cancels that crossed their job on its way into Postgres.
package housekeeping
