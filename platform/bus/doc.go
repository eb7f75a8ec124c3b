// Package bus carries what the services hand to each other over NATS
// JetStream: envelopes of accepted jobs (stream JOBS) and the released window
// of work (stream WORK), and hints that nobody may depend on (core NATS). It
// alone imports nats.go; it runs against an embedded server as against a cluster.
//
// Both streams are work queues that refuse new messages when full: a publisher
// learns of it, nothing is dropped. WORK holds at most one message a subject,
// and a subject belongs to one segment, so that releasing a segment twice
// leaves one message (invariant I4). Every delivery may be a repetition;
// receivers fence with what Postgres says. A message that was acknowledged
// with [Delivery.Ack] does not come again, even over a crash of the server.
//
// Receivers ignore members of a message that they do not know, so that a newer
// sender may run beside an older receiver; anything else that is wrong with a
// message ends it, with a log line and a count in [Stats].
package bus
