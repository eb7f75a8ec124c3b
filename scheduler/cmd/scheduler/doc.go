// Command scheduler plans accepted jobs, lets out work and sends callbacks. It
// needs Postgres, NATS and a bucket; scheduler --help lists its settings. Any
// number may run: one leads, the others stand by.
package main
