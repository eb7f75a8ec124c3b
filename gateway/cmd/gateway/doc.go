// Command gateway serves the voicemill API to clients. It needs NATS, a bucket
// and a Postgres whose schema is up to date; gateway --help lists its settings.
package main
