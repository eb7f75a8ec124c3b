// Package pg is the way to Postgres: one connection pool a process, the wait for the
// schema (package migrate brings it up), transactions that are retried when that is safe, a
// leader's lock, and one table that turns a driver's error into a [job.Error].
//
// Queries live in .sql files beside the store that uses them and are loaded by
// name with [LoadQueries]. Only this package and the stores import pgx.
package pg
