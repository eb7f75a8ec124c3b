package fleet

import (
	"context"
	"errors"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/worker/internal/engine"
)

// fault is what a result says, before it is known who is to blame.
type fault int

const (
	none    fault = iota
	stopped       // the caller left, or the engine is closed
	ours          // it never reached an engine
	full          // the address wants to be left alone
	away          // there is no way to the address
	answer        // it answered badly: refused, or with audio that is none
	broke         // it failed
	lost          // it hung, died or cut the answer short
)

// faultOf reads err, of a request in a call whose caller waits in ctx; asked is
// false if no backend was asked.
func faultOf(ctx context.Context, err error, asked bool) fault {
	switch {
	case err == nil:
		return none
	case ctx.Err() != nil, errors.Is(err, engine.ErrClosed):
		return stopped
	case errors.Is(err, errCallTimeout), errors.Is(err, errStalled), errors.Is(err, engine.ErrLost):
		return lost
	}
	switch job.KindOf(err) {
	case job.Overloaded:
		return full
	case job.Unavailable:
		return away
	case job.Engine:
		if errors.Is(err, errJudged) {
			return answer
		}
		return broke
	case job.Invalid, job.TooLarge, job.NotFound, job.Unauthorized, job.Forbidden, job.Conflict:
		if asked {
			return answer
		}
	default:
	}
	return ours
}

// misconfigured reports whether an address that fails its canary so would refuse
// every text: the fault is in the configuration.
func misconfigured(err error) bool {
	switch job.KindOf(err) {
	case job.Invalid, job.TooLarge, job.NotFound, job.Unauthorized, job.Forbidden, job.Conflict:
		return true
	default:
		return false
	}
}

// trial is what is known of a text that failed.
type trial struct {
	fault    fault
	failures int  // calls that failed with it
	beside   bool // in the last of them others were spoken
	alone    bool // it was alone in the last of them, with an address of its own
	died     bool // in the last of them it ended a process of the driver's, which starts another
	deaths   int  // engines that it ended while it was alone, the last one included
	enough   int  // of these, to call it poison
	doubt    int  // the address has failed so many canaries lately
	crowd    bool // other texts, alone too, broke the engines since those last spoke one
}

// proof is what is known of the address.
type proof int

const (
	unwell    proof = iota // its canary failed
	canary                 // it speaks its canary
	voiceless              // it speaks its canary in another voice and refuses this one
	speaks                 // it spoke another text between the failures of this one, or after
)

// ruling is who pays.
type ruling int

const (
	again      ruling = iota // nobody: another address, or later
	againAlone               // nobody yet: once more, alone
	charge                   // the text: one attempt
	quarantine               // the text: it has failed
)

// rule says who pays for a failure. A text is charged only if it failed again after
// the engine was seen to speak: one that was well again when it was asked may have
// been sick before. Where a process ended, what its successor speaks says nothing.
func rule(t trial, p proof) ruling {
	if t.fault == answer {
		switch {
		case p == unwell || t.failures < minFailures && !t.beside:
			return again
		default:
			return charge
		}
	}
	ended := p == unwell || t.died
	switch {
	case t.crowd && p != speaks: // several texts and one engine: it is the engine
		return againAlone
	case ended && t.alone && t.deaths > 0 && t.deaths >= t.enough:
		return quarantine
	case ended || t.failures < minFailures+t.doubt:
		return againAlone
	default:
		return charge
	}
}

const (
	// An engine that failed once with a text and speaks its canary is asked again.
	minFailures = 2
	// A text that ended an engine so often while it was alone is not tried again, unless
	// engines end of other things too. All but the first of these deaths had a control:
	// see [Fleet.control].
	poisonDeaths = 3
)
