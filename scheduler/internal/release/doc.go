// Package release lets a bounded window of segments out of Postgres into WORK.
//
// The backlog stays in Postgres. What is out is at most a second or two of
// work for each pool and class, so an interactive request waits behind no more
// than that, however long the bulk backlog is (invariant I9).
//
//	Queue    pure: who is next. Fair by predicted seconds of audio, weighted by
//	         tenant (virtual time); interactive first up to a share; a tenant's
//	         own jobs by priority, deadline and age.
//	Window   pure: how much may be out, from what the pool did lately.
//	Releaser the loop: asks Postgres what became of the released segments,
//	         fills the window, marks rows released and only then publishes.
//
// The Releaser keeps no truth. It may die at any point: what was marked and
// not published is found by the sweep, and a message that is there already is
// refused by the stream (invariant I4). One Releaser runs in a deployment; the
// caller sees to that with a leader's lock.
package release
