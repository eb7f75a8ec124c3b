// Package natsd runs a NATS server with JetStream inside this process. It
// writes every message to disk before it acknowledges it (SyncAlways), because
// an acknowledgement here is a promise to a client, and it locks its directory,
// which the server itself does not. A server that cannot serve any more, because
// the disk was full, is started again once there is room.
package natsd
