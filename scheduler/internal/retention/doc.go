// Package retention deletes what tenants keep no longer: texts, files, rows of jobs,
// callbacks and renditions, each as long as the tenant's policy says; and the objects
// that no row names any more. docs/retention.md tells what goes when.
//
// Rows go in bounded batches under the leader's lease. A trigger notes each object
// that a row named in the table garbage, in the transaction that deletes the row;
// the object itself goes a while later, and only if no row names it then. So a
// process that dies at any moment leaves a row to try again, never a row without its
// object. What was stored and never got a row, since a worker died in between, is
// found by walking through the bucket, a page a round.
package retention
