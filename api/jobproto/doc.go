// Package jobproto turns the job vocabulary into the messages of the binary
// carrier and back: what a client asks for ([job.Spec]), how a job stands
// ([jobdoc.Document]) and what a watcher is told ([jobdoc.Event]). Both
// directions live here, so that a server and a client cannot disagree. A round
// trip loses nothing but what a message has no place for: times are cut to
// milliseconds, the fraction to 32 bits.
package jobproto
