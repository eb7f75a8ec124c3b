// Package store is the scheduler's half of Postgres: every statement the
// scheduler runs, in .sql files beside it, and nothing that decides.
//
// The locking rule of the schema holds for every transaction here: rows of
// jobs are locked first, ordered by id; chapters, segments, outbox and
// deliveries are touched afterwards. Transactions are short. The one that
// commits a plan stages its rows in a temporary table of its connection while
// it reads the document, and locks the job only when everything is staged.
//
// Every error has gone through [pg.Classify]: job.Unavailable when the
// database is away, job.Internal or job.Invalid when a row cannot be stored.
package store
