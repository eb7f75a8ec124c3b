// Package plan turns an accepted job into chapters and segments in Postgres.
//
// Two lanes work side by side. One takes plain text that came with the request,
// many jobs at a time. The other takes foreign documents: package reader reads
// each in a process of its own, several at the same time, of which a tenant has
// half and interactive jobs have one for themselves. So neither a thousand-page
// book nor a document made to be dear stands before a one-line request. Within a
// lane interactive jobs come first and tenants take turns, however much of one
// waits.
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
