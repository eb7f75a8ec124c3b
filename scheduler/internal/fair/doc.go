// Package fair decides what a pool does next. It is pure: no database, no bus,
// no clock but the times it is given. It is not safe for concurrent use.
//
//	Job      what one job has waiting for one pool, as a source of bundles
//	Pool     engines that do like work: a speech pool, or the joins of the last
//	         mile. Its capacity is what its workers report.
//	queue    a pool and a class: its tenants by virtual time
//	Turn     a bundle that may go out now: pool, class, tenant, job, how much
//
// The caller asks Next until it says no, takes the segments of each turn from
// the job's cursor, and answers every turn with Released or Declined; it tells
// what came of bundles with Done and Returned. Several turns may be open at
// once, so one statement can release many bundles.
//
// # Cost
//
// A cost is predicted work in one unit per pool: GPU-seconds, or seconds of
// audio where an engine's pace is even. Rates are cost per second. The core
// compares costs within a pool only, so pools may differ in their unit.
//
// # Between tenants
//
// Start-time fair queueing (Goyal, Vin and Cheng, 1996) by cost, with the
// true-up of the virtual token counter (Sheng et al., OSDI 2024): the tenant
// with the least virtual time goes next, and pays cost / weight. When a segment
// ends, the tenant pays or gets back what the prediction was wrong by. The
// system time of a queue is the greatest virtual time at which a turn began; it
// never falls. A tenant whose work begins to wait starts at max(own, system):
// it neither saves up while it is away nor owes for a pool that it had alone.
// When a queue has nothing waiting and nothing out, its system time rises to the
// greatest virtual time, and every account ends: nobody was kept waiting, so
// nobody owes. A tenant without work whose account the system time has passed
// is forgotten, which loses nothing by the rule of max.
//
// Every class of a pool has a system time of its own: one for both would lift
// whoever comes to the slower class to the time of the faster one, and let him
// wait for ever behind those who were there before.
//
// # Between classes
//
// Interactive work goes first until it is a bundle ahead of its share of the
// pool while bulk work waits. A bulk job whose deadline is near (less than
// UrgentFactor times what it still takes at its tenant's part of the pool) moves
// into the interactive queue.
//
// # Within a tenant
//
// Jobs with a deadline by deadline; then by priority, time of acceptance, id.
//
// # How much may be out
//
// What the engines hold (Slots segments) and a buffer: Buffer of the pool's own
// rate, on static pools BuffersPerBackend batches a backend. Everything that is
// out counts. Bulk work may fill a part of the buffer only, and none of the slots
// that are Spared: an engine that batches by itself speaks slower the more it has
// at once, so workers leave some slots empty of bulk work while interactive work
// comes. Interactive work has the rest of both. Workers take interactive messages
// first, so of what waits in the buffer the bulk part is no obstacle to it.
//
// A bundle is at most MaxSegments, BundleWork of the pool's rate, and what the
// buffer has left, but one segment always, even if it is more than the buffer:
// a pool of one engine has up to a second and a half out. A tenant that has half
// of the pool out, or a quarter more than its part by weight, or two bundles,
// whichever is most, makes room for the others that wait. Reports age out; a pool
// without a worker gets nothing, one whose rate is not known yet gets single
// segments, as many as its engines hold. A turn says when nothing waits behind it
// in its pool, so that workers can end together.
//
// # Cost of a decision
//
// Logarithmic in tenants and jobs, independent of segments, linear in pools.
// A waiting job takes 370 to 410 bytes, an id of 40 characters included, and a
// tenant in a queue 170 to 190 more, as the maps have grown
// (TestAWaitingJobTakesTheMemoryThatIsStated). Jobs are bounded by MaxJobs and
// JobsPerTenant: Add refuses what is above, and it stays where it is stored until
// there is room.
package fair
