// Package documents keeps the answers to questions for a job, encoded, for as
// long as they may be believed, so that a status is answered from memory.
//
// # What is believed
//
// A document is believed for [Config.MaxAge] from the moment its reading began,
// and no longer, whatever became of the database: hints that a job has moved on
// may be lost. It is dropped earlier when the cache learns of a later state, by
// [Cache.Hint] from the bus, by [Cache.Seen] when somebody was shown one, or by
// [Cache.Forget] when this process changed the job. A reading that was under way
// at that moment may carry what was before it, so it is not kept unless it turns
// out to be as new, and nobody joins it any more. From one cache nobody is thus
// shown a state that is older than one it has shown before.
//
// A state is ordered by its version; of the same version a final one is later,
// because a job can be cancelled before its first version.
//
// # Who reads
//
// A question that cannot be answered joins the reading that is under way or
// becomes its first, who reads the job and calls [Reading.Settle]; so one job is
// read once at a time, however many ask.
//
// # Bounds
//
// Documents are kept up to Config.Bytes. The oldest goes first, which is the one
// that stops being believed soonest. One that is larger than half of its shard is
// not kept. The number of readings is bounded by who does them.
package documents
