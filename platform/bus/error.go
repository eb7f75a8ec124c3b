package bus

import (
	"errors"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/voicemill/voicemill/job"
)

const (
	sayAway  = "The message bus is away for the moment; try again shortly."
	sayFull  = "Too much work is waiting already; try again later."
	sayLarge = "The request is too large for one message."
)

// Error codes of the JetStream API that the client does not name.
const (
	codeStoreFailed     jetstream.ErrorCode = 10077 // says why in its description only
	codeInsufficient    jetstream.ErrorCode = 10023
	codeStorageExceeded jetstream.ErrorCode = 10047
	codeAccountExceeded jetstream.ErrorCode = 10002
	codeNoPeers         jetstream.ErrorCode = 10005 // too few servers are there to hold the copies
	codeNotClustered    jetstream.ErrorCode = 10074 // more than one copy, and one server

	tooManyRequests = 429

	// The server's texts for the three refusals that share code 10077.
	perSubjectFull = "maximum messages per subject exceeded"
	messagesFull   = "maximum messages exceeded"
	bytesFull      = "maximum bytes exceeded"
)

// classify gives an error of the client or the server its Kind. Unavailable
// includes time-outs, after which the outcome is unknown.
func classify(op string, err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*job.Error](err); ok {
		return err
	}
	kind, public := job.Unavailable, sayAway
	var api *jetstream.APIError
	switch {
	case errors.As(err, &api) && full(api):
		kind, public = job.Overloaded, sayFull
	case errors.As(err, &api) && api.ErrorCode == jetstream.JSErrCodeStreamMessageExceedsMaximum, errors.Is(err, nats.ErrMaxPayload):
		kind, public = job.TooLarge, sayLarge
	}
	return &job.Error{Op: op, Kind: kind, Public: public, Err: err}
}

func full(api *jetstream.APIError) bool {
	switch api.ErrorCode {
	case codeStoreFailed:
		return api.Description == bytesFull || api.Description == messagesFull
	case codeInsufficient, codeStorageExceeded, codeAccountExceeded:
		return true
	default:
		return api.Code == tooManyRequests
	}
}

// alreadyThere reports that a message of the same subject is in the stream.
// The code is shared with other refusals, so the text has to tell.
func alreadyThere(err error) bool {
	var api *jetstream.APIError
	return errors.As(err, &api) && api.ErrorCode == codeStoreFailed && api.Description == perSubjectFull
}
