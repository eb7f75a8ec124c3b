package engine

import (
	"context"
	"time"
)

// Engine speaks one backend's protocol. It is safe for concurrent use; up to
// Info().Window requests are worked on at once and further ones wait.
type Engine interface {
	// Info describes the engine. It does not change while the engine lives; the
	// caller must not modify the slices in it.
	Info() Info

	// Synthesize speaks every request of batch and returns one Result for each,
	// in the same order. A request that fails sets its Result.Err, always a
	// *job.Error, and leaves the others alone. The error is for the whole call:
	// ctx ended (it wraps the cause of ctx), the engine was closed ([ErrClosed]),
	// or the batch was empty or larger than Info().MaxBatch; the results are then
	// nil. Synthesize returns promptly when ctx is done; what was spoken by then
	// stands, and the others have that error each.
	Synthesize(ctx context.Context, batch []Request) ([]Result, error)

	// Close ends calls in progress, releases what the engine holds and returns
	// when that is done. A second call does nothing.
	Close() error
}

// Prober is an Engine that can tell without speaking whether it could answer now.
type Prober interface {
	// Probe returns nil if a request that came now would find a process or a
	// backend that works, as far as can be seen without speaking, and else an
	// error of kind Unavailable. It returns when ctx is done.
	Probe(ctx context.Context) error
}

// Owned is an Engine whose backend is a process that the worker itself runs.
type Owned interface {
	Engine

	// Restart has the backend, which is sick, ended and another one started. It does
	// not wait for that.
	Restart(why string)

	// Woken has an element when a backend has come to life since the last was taken.
	// Until there is one, requests fail at once with [ErrStarting].
	Woken() <-chan struct{}
}

// Info describes an engine.
type Info struct {
	Name         string  // the driver, such as "espeak-ng": a metric label
	Address      string  // which backend it speaks to, for logs; may be empty
	Model        string  // what shapes the audio beside the request: software and version, or model; part of a rendition's key
	Rate         int     // sample rate of every Audio, in Hz
	Voices       []Voice // the voices a Request may name
	MaxBatch     int     // most requests in one call, at least 1
	Window       int     // how many requests are worked on at once
	MaxTextBytes int     // longest Request.Text
	Repeats      bool    // the same Request always gets the same samples
	Seeds        bool    // another Request.Seed gets other samples
}

// Voice is one voice of an engine.
type Voice struct {
	Name         string // what a Request names, such as "narrator-en"
	Language     string // BCP 47, such as "en-GB"; empty when the voice speaks any
	Fingerprint  string // differs for what sounds different; part of a rendition's key
	Licence      string // under which it may be used; empty if the engine knows none
	Attribution  string // who made it, as the licence wants it said
	Instructions bool   // a Request may have some
}

// Request is one text to speak.
type Request struct {
	ID             string  // for logs and errors; the engine does not read it
	Text           string  // UTF-8, at least one character that is not space
	Voice          string  // one of Info().Voices; empty picks one by Language
	Language       string  // BCP 47; empty leaves it to the voice
	Speed          float64 // 1 is normal, 0.25 to 4; 0 counts as 1
	Instructions   string  // how to speak, for the model; only for a voice that takes some
	Seed           int64   // makes sampling repeatable where the backend can; 0 is a seed too
	Seconds        float64 // predicted length of the audio; sets the time-out, 0 is unknown
	Pronunciations []Pronunciation
}

// Pronunciation says how a part of a Request's text sounds. Drivers that
// cannot express it read the text as written.
type Pronunciation struct {
	Start, End int    // byte range in Request.Text; ranges are in order and do not overlap
	Alphabet   string // "ipa" or "x-sampa"
	Phonemes   string
}

// Result is the answer to one Request. Either Err is set, or Audio has samples.
type Result struct {
	Audio     Audio
	Sentences []Mark // in order; empty when the backend tells no times
	Words     []Mark // in order; empty when the backend tells no times
	Placed    bool   // whether Words were spread over their sentence in proportion, and not measured
	Backend   string // which process or address was asked, for logs; empty if none was, so that Err is no word of the backend's
	Err       error  // a *job.Error
}

// Audio is mono 16-bit sound.
type Audio struct {
	Rate    int // Hz
	Samples []int16
}

// Seconds returns the length of a in seconds.
func (a Audio) Seconds() float64 {
	if a.Rate <= 0 {
		return 0
	}
	return float64(len(a.Samples)) / float64(a.Rate)
}

// Duration returns the length of a.
func (a Audio) Duration() time.Duration {
	return time.Duration(a.Seconds() * float64(time.Second))
}

// Mark says when a part of the text begins to sound.
type Mark struct {
	Start, End int   // byte range in Request.Text
	Sample     int64 // first sample, at Audio.Rate
}
