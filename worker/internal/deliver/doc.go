// Package deliver makes what an engine said durable, in an order that never
// changes: the WAV is stored whole, then the status is committed, then the
// message is acknowledged. Whenever the worker dies between two of these, the
// message comes again and the steps before it are found done.
//
// A bucket or a database that is away is waited for while the lease is kept,
// up to a bound; then the message is given back. Nothing is charged for that.
package deliver
