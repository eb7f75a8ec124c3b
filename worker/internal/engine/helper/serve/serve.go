package serve

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/voicemill/voicemill/worker/internal/engine/helper/wire"
)

// Library speaks one text at a time.
type Library[Body any] interface {
	// Hello loads what is needed and says what it is. Version is filled in.
	Hello() (wire.Hello, error)

	// Speak speaks body into out and returns how that went: a nil error is
	// wire.CodeOK, and a *[RefusedError] any other code. Other errors end the helper.
	Speak(body Body, out *Sink) error

	// Renew is called when an answer has been sent, before the next request.
	Renew() error

	// MaxSamples is the longest audio for one text.
	MaxSamples() int64
}

// RefusedError is why a text was not spoken. The helper is well.
type RefusedError struct {
	Code   wire.Code
	Detail string
}

func (r *RefusedError) Error() string { return string(r.Code) + ": " + r.Detail }

// Main runs loop, which ends in [Loop], over standard input and output and returns
// the exit code of the program. Why it failed is said on standard error.
func Main[Body any](loop func(ctx context.Context, in *Input[Body], out io.Writer) error) int {
	ctx, stop := context.WithCancel(context.Background()) //nolint:forbidigo // the body of a main
	defer stop()
	in := NewInput[Body]()
	go in.Read(ctx, os.Stdin) // ends with the process; a blocked read cannot be called back

	served := make(chan error, 1)
	go func() { served <- loop(ctx, in, os.Stdout) }()
	var err error
	select {
	case err = <-served:
	case <-in.Ended(): // the worker is gone or done with us; a text in progress is of no use
		err = in.Err()
	}
	if err != nil {
		_, _ = fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// Loop has lib say hello on out and answer requests from in until in ends or ctx
// is done, which is not an error. A text in progress cannot be interrupted, so the
// caller should exit the process as soon as [Input.Ended] is closed.
func Loop[Body any](ctx context.Context, lib Library[Body], in *Input[Body], out io.Writer) error {
	hello, err := lib.Hello()
	if err != nil {
		return err
	}
	hello.Version = wire.Version
	w := wire.NewWriter(out)
	if err := w.WriteJSON(wire.TypeHello, hello); err != nil {
		return fmt.Errorf("write hello: %w", err)
	}
	for {
		if err := w.Flush(); err != nil {
			return fmt.Errorf("write answer: %w", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case r, ok := <-in.requests:
			if !ok {
				return in.Err()
			}
			if err := answer(lib, w, r); err != nil {
				return err
			}
		}
	}
}

// answer speaks r and makes lib ready for the next request. Its error means that
// the helper cannot go on.
func answer[Body any](lib Library[Body], w *wire.Writer, r wire.Request[Body]) error {
	out := &Sink{w: w, left: lib.MaxSamples()}
	done := wire.Done{ID: r.ID, Code: wire.CodeOK}
	err := lib.Speak(r.Body, out)
	refusal := &RefusedError{}
	switch {
	case out.err != nil:
		return fmt.Errorf("write audio: %w", out.err)
	case out.left < 0:
		done.Code, done.Detail = wire.CodeLimit, fmt.Sprintf("more than %d samples of audio", lib.MaxSamples())
	case errors.As(err, &refusal):
		done.Code, done.Detail = refusal.Code, refusal.Detail
	case err != nil:
		return err
	}
	if err := w.Write(wire.TypeEvents, out.events); err != nil {
		return fmt.Errorf("write events: %w", err)
	}
	done.Samples = out.count
	if err := w.WriteJSON(wire.TypeDone, done); err != nil {
		return fmt.Errorf("write done: %w", err)
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("write answer: %w", err)
	}
	return lib.Renew()
}

// Sink turns what a library says for one text into frames.
type Sink struct {
	w      *wire.Writer
	left   int64 // samples that may still come; negative once there were too many
	count  int64
	bytes  []byte
	events []byte
	err    error
}

// Count returns how many samples were taken so far.
func (s *Sink) Count() int64 { return s.count }

// Samples takes audio. It returns false when no more is wanted.
func (s *Sink) Samples(pcm []int16) bool {
	for len(pcm) > 0 {
		part := pcm[:min(len(pcm), wire.MaxFrame/4)]
		pcm = pcm[len(part):]
		if s.left -= int64(len(part)); s.left < 0 || s.err != nil {
			return false
		}
		s.bytes = slices.Grow(s.bytes[:0], 2*len(part))[:2*len(part)]
		for i, v := range part {
			binary.LittleEndian.PutUint16(s.bytes[2*i:], uint16(v)) //nolint:gosec // the same 16 bits
		}
		s.count += int64(len(part))
		s.err = s.w.Write(wire.TypeAudio, s.bytes)
	}
	return s.err == nil
}

// Event takes a mark. It returns false when no more is wanted.
func (s *Sink) Event(e wire.Event) bool {
	if len(s.events) > wire.MaxFrame/2 {
		s.err = s.w.Write(wire.TypeEvents, s.events)
		s.events = s.events[:0]
	}
	s.events = wire.AppendEvent(s.events, e)
	return s.err == nil
}

// Input reads requests ahead of [Loop].
type Input[Body any] struct {
	requests chan wire.Request[Body] // closed by Read when the input has ended
	ended    chan struct{}
	err      error // valid once ended is closed
}

// NewInput returns an Input; the caller runs [Input.Read].
func NewInput[Body any]() *Input[Body] {
	return &Input[Body]{requests: make(chan wire.Request[Body]), ended: make(chan struct{})}
}

// Ended is closed when there is nothing more to read, even while a request is
// being answered.
func (in *Input[Body]) Ended() <-chan struct{} { return in.ended }

// Err returns why the input ended, nil if it simply did. It is valid once Ended
// is closed.
func (in *Input[Body]) Err() error { return in.err }

// Read passes requests from r to Loop until r ends, breaks the protocol or ctx
// is done. It is called once. The end of r between two requests is no error.
func (in *Input[Body]) Read(ctx context.Context, r io.Reader) {
	in.err = in.read(ctx, wire.NewReader(r))
	close(in.ended)
	close(in.requests)
}

func (in *Input[Body]) read(ctx context.Context, r *wire.Reader) error {
	for {
		t, body, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read request: %w", err)
		}
		if t != wire.TypeRequest {
			return fmt.Errorf("frame of type %c instead of a request: %w", t, wire.ErrProtocol)
		}
		var request wire.Request[Body]
		if err := wire.DecodeJSON(body, &request); err != nil {
			return fmt.Errorf("read request: %w", err)
		}
		select {
		case in.requests <- request:
		case <-ctx.Done():
			return nil
		}
	}
}
