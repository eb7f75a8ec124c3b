package api

import "context"

// Body is what an answer gives piece by piece.
type Body struct {
	Length int64 // bytes; negative if nobody knows
	// Next fills dst as far as it can without waiting long, and returns io.EOF,
	// alone or with the last bytes, at the end. It may block, but not longer than
	// ctx. Another error cuts the answer off.
	Next func(ctx context.Context, dst []byte) (n int, err error)
	// Done is called once after the last Next, whatever the end was; not nil.
	Done func()
}

// BodyStreamer is an [Exchange] that can answer with a body piece by piece, as
// fast as its client takes it.
type BodyStreamer interface {
	Exchange
	// StreamBody answers with the status and the fields of a. It reports false,
	// and has called neither Next nor Done, if the client is gone or the server
	// carries as many such answers as it may; the caller then answers 503.
	StreamBody(a *Answer, b Body) bool
}
