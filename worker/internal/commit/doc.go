// Package commit writes what became of segments to the database in groups: one
// transaction and one flush to disk for everything that finished within a few
// milliseconds, or while the transaction before was under way. Interactive outcomes
// are not kept waiting for company.
//
// One goroutine, [Committer.Run], owns the group. A submitter waits for its own
// outcome only and may stop waiting at any time; the outcome may then have been
// stored or not, which the fence in the database makes harmless.
package commit
