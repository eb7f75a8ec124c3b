// Package plan turns an accepted job into chapters and segments in Postgres.
//
// Two lanes work side by side: one takes jobs with inline input, many at a
// time, the other takes uploads, one at a time, so that a thousand-page book
// does not stand before a one-line request. Within a lane interactive jobs come
// first and tenants take turns.
//
// The state of the job is the lock:
//
//	accepted ──claim──▶ planning ──one transaction──▶ queued
//	                       │  ▲
//	                       │  └── the bucket or the database was away: again later
//	                       └────▶ failed, with a sentence for the owner
//
// A fault of the document, of the voice or of a limit fails the job at once. A
// dependency that is away never does. A fault of ours, a panic included, is
// tried [Config.Attempts] times. A process that dies leaves the job in
// planning, and so does a claim whose answer is lost. A lane looks every ten
// polls for jobs in planning that it does not hold, plans each again, alone, and
// gives it up only after [Config.Crashes] deaths.
//
//	casting  pure: which voice speaks a segment
//	draft    the input as chapters of segments with rendition keys and digests
//	upload   the bucket as an io.ReaderAt that remembers its failures
//	Planner  the lanes
package plan
