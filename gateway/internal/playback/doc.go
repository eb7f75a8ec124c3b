// Package playback reads the sound of a job in reading order, from the first
// segment on and while the job still renders: the samples of each segment as
// they lie in the bucket, and the silences of the plan between them. It knows
// nothing of who listens.
//
// A [Player] never waits for the job. When the next segment is not rendered yet
// it says so ([ErrNotYet]), and from which version of the job it knows that; the
// caller waits for another version and asks again. Between two reads it holds
// no goroutine, and after [Player.Rest] no connection to the bucket either: it
// goes on where it was.
//
// The silence before a segment is part of that segment. Silence that the plan
// puts at the end of a job is left out, because nothing follows it.
package playback
