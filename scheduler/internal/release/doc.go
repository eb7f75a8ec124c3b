// Package release is the leader's loop: it lets work out of Postgres into WORK.
//
// The backlog stays in Postgres. What is out is what the engines have in hand
// and about a second of work more, so an interactive request waits behind no
// more than that, however long the bulk backlog is (invariant I9). The joins of
// chapters and the ends of jobs take turns like segments do.
//
// One step, for ever, on a tick or when something happened:
//
//	hear     what workers can take, and which segments they are through with
//	recover  at the start of a term and when WORK was lost: all that is out is published again
//	look     what is out, compared with Postgres
//	learn    queues, segments that come again and joins that wait, page by page
//	sweep    what has been out for long is published again, page by page
//	release  take turns while there is room; mark it in one round trip
//	publish  what is marked
//
// The loop keeps no truth. It may die at any point: what was marked and not
// published is published by its successor, and a message that is there already
// is refused by the stream (invariant I4). All it writes is fenced by a lease,
// so a leader that was stopped does no harm when it goes on.
package release
