// Package export copies the files of jobs that have ended into buckets of their
// owners, which in the API is the delivery of a job.
//
// What is due is a row of exports, written in the transaction that ends the job;
// nothing waits for it. Layout says where each file goes, by the template of the
// job, and adds what a shelf such as Audiobookshelf reads. The Dispatcher works on
// what is due under the leader's lease, one job at a time in one of a few places, file
// by file, in constant memory. Each step is safe to repeat, and a row says how far it
// got: after a death the next leader goes on with the file, and the part of it, that was
// under way.
//
//	pending ──all files are there──▶ delivered
//	   │ ▲
//	   │ └── the bucket is away: again, later and later
//	   └──▶ failed: it refuses us, or was away for too long
//
// The job stays as it ended. Its owner may have it delivered again from either end.
package export
