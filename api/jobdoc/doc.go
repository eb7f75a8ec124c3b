// Package jobdoc is the job document: what a client sees of a job when it
// polls, lists or is called back. The gateway and the scheduler's callbacks
// build it from the same row with the same code, so a job reads the same
// everywhere.
//
// [SelectJob] is the one statement that reads everything a document needs in
// one snapshot; [Row] receives it; [Build] turns it into a [Document].
package jobdoc
