// Package bus carries what the services hand to each other over NATS
// JetStream: envelopes of accepted jobs (stream JOBS, on disk), released work
// (stream WORK, in memory), and over core NATS what nobody may depend on: hints
// that a job changed, notes that segments are settled, reports of what a worker
// can take. It alone imports nats.go; it runs against an embedded server as
// against a cluster.
//
// Both streams are work queues that refuse new messages when full: a publisher
// learns of it, nothing is dropped. WORK holds at most one message a subject,
// and a subject belongs to one attempt at a bundle of segments, so that
// releasing it twice leaves one message (invariant I4). WORK may be lost with
// its server; [Bus.MarkWork] notices and makes it anew, and whoever released is
// to release again what is out. Every delivery may be a repetition; receivers
// fence with what Postgres says. A message of JOBS that was acknowledged with
// [Delivery.Ack] does not come again, even over a crash of the server.
//
// Receivers ignore members of a message that they do not know, so that a newer
// sender may run beside an older receiver; anything else that is wrong with a
// message ends it, with a log line and a count in [Stats].
package bus
