// Package up runs all of voicemill in one process: an embedded NATS server and
// an embedded S3, a private Postgres as a child, the gateway, the scheduler and
// a worker. The services are the ones that run apart in a cluster; what differs
// is where their connections lead. All state is in one data directory.
package up
