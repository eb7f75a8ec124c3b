// Package accesslog names, counts and times calls and writes the access log, for
// every carrier alike: a [Record] is what is known of a call that is over.
package accesslog
