// Package gateway is the front door of voicemill: HTTP in, jobs in JetStream,
// documents from Postgres out. [Run] joins its parts and stops them in order;
// everything else is below internal:
//
//	edge → http1 → carrier → api → auth, voices, intake ─▶ JOBS
//	                          ├──▶ offload → store ─▶ Postgres
//	                          └──▶ watch (requests that wait for a job)
//
// A request is answered on its event loop if memory suffices, else by a bounded
// pool; a submit is answered when the group commit of its job was acknowledged
// (invariant I1). Stopping goes from the outside in: the edge drains, waiting
// requests are answered early, the intake sends what has gathered.
package gateway
