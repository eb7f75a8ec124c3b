// Package gateway is the front door of voicemill: HTTP in, jobs in JetStream,
// documents from Postgres out. [Run] joins its parts and stops them in order;
// everything else is below internal:
//
//	edge → http1 → web ──────┐
//	     → ws, frame → session ┴▶ operation → auth, limit, voices
//	                                ├──▶ intake ─▶ JOBS
//	                                ├──▶ store ─▶ Postgres
//	                                └──▶ watch (calls that wait for a job)
//
// What memory can answer is answered on the event loop; every other call has a
// goroutine of its own in a bounded pool, where it reads from top to bottom. A
// submit is answered when the group commit of its job was acknowledged (invariant
// I1). Stopping goes from the outside in: the edge drains, waiting requests are
// answered early, the intake sends what has gathered.
package gateway
