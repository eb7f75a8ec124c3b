// Package intake makes accepted jobs durable in groups. While one envelope is
// on its way to JetStream and back, new jobs gather; the next envelope takes
// them all. So one fsync makes many jobs durable, and a job never waits for a
// timer: alone it goes out at once.
//
// A [Committer] owns the queue, which is bounded in jobs and in bytes. A job's
// callback runs once, after the acknowledgement of its envelope (invariant I1)
// or with the reason why there is none; [Committer.Submit] waits for that.
//
// When an envelope fails, everything that gathered behind it fails with it and
// the Committer refuses new jobs for a moment: a client that waits for a bus
// that is away learns nothing by waiting longer.
package intake
