// Command gateway serves the voicemill API to clients. It needs NATS, a bucket
// and a Postgres whose schema is up to date; gateway --help lists its settings.
//
// SIGTERM drains, SIGHUP reads the TLS files again, SIGUSR2 starts the binary
// anew on the same sockets and drains once that serves. Sockets may come from
// systemd; docs/gateway.md says how.
package main
