// Command gateway serves the voicemill API to clients. It needs Postgres, NATS
// and a bucket; gateway --help lists its settings.
package main
