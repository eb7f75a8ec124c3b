// Package watch tells waiting requests that a job has changed, without a
// goroutine for each of them. A [Hub] keeps the waiters by job. Hints from the
// bus mark jobs as worth a look, which is had at once; every second all waited-for jobs are worth
// one, because hints may be lost. One reader asks Postgres for the versions of
// many jobs at once and wakes the waiters whose job has moved on.
package watch
