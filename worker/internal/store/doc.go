// Package store is the worker's part of Postgres: what becomes of segments,
// chapters and jobs. The statements are in sql/.
//
// Two rules hold throughout. A transaction locks the rows of jobs first,
// ordered by id, and touches everything else after. And every change is fenced:
// a segment changes only while its bit is set in the bundle that is out under the
// attempt that the caller worked for, a chapter only while it is assembling, a job
// only until it is final. A change that finds its fence gone is no error; it just did not
// happen, and the caller is told so.
package store
