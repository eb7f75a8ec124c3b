package api

import (
	"io"
	"net/http"
)

// Streamable is an [Exchange] whose bodies may be carried piece by piece.
type Streamable interface {
	Exchange
	// Reader returns the body as it arrives. A client that expects 100 (Continue)
	// gets it when Reader is first read, which must be before Begin. Read waits; its
	// error is a [*BodyError] unless it is io.EOF, after the whole body.
	Reader() io.Reader
	// Go runs task on a goroutine of its own. It reports false, and does not run
	// task, if as many run as may.
	Go(task func()) bool
	// Begin answers with a, whose body follows: length bytes, or as many as come if
	// length is negative. The outlet must be ended. Begin returns nil if the call was
	// answered otherwise or its client is gone.
	Begin(a *Answer, length int64) Outlet
}

// Outlet is the body of an answer on its way. One goroutine uses it.
type Outlet interface {
	// Write waits while much waits for the client. It fails once the client is gone.
	io.Writer
	// End completes the body. With an error it cuts the connection instead, so that
	// the client does not take what it got for the whole.
	End(err error)
}

// BodyError is why a body could not be read to its end. As an answer it has the
// status of HTTP that it names.
type BodyError struct {
	Status int
	Public string // one sentence for the client
}

// Error returns the sentence.
func (e *BodyError) Error() string { return e.Public }

// StatusLeft is what the log says of a call whose client did not wait for the
// answer, as other servers do.
const StatusLeft = 499

// Streams reports whether a call reads its body while it arrives, for a carrier
// that has seen the head of a request only.
func (a *API) Streams(method string, path []byte) bool {
	for i := range a.table {
		if r := &a.table[i]; r.streams && r.method == method && r.match(path) {
			return true
		}
	}
	return false
}

// stream serves a route that carries bodies piece by piece.
func (a *API) stream(c *Call, r *route) {
	x, ok := c.Exchange.(Streamable)
	if !ok {
		a.refuse(c, badRequest, "This call needs a request of its own over HTTP.")
		return
	}
	c.detach()
	c.stream = x
	a.carry(c, x, func() { r.serve(a, c) })
}

// carry runs what may take as long as a client reads or writes.
func (a *API) carry(c *Call, x Streamable, task func()) {
	err := a.body(c, x, func() {
		defer a.rescue(c, func() { a.fail(c, errPanic) })
		c.enter(stageWork)
		task()
	})
	if err != nil {
		a.fail(c, err)
	}
}

// body runs task on a goroutine of its own, or returns why there is no room.
func (a *API) body(c *Call, x Streamable, task func()) error {
	release, err := share(a.streams, c, "Too many bodies are under way; try again later.")
	if err != nil {
		return err
	}
	started := x.Go(func() {
		defer release()
		task()
	})
	if !started {
		release()
		return &fullError{shedStreams, "Too many bodies are under way; try again later."}
	}
	return nil
}

// failBody answers with what a body could not be read for.
func (a *API) failBody(c *Call, e *BodyError, cause error) {
	answer := Refusal(e.Status, e.Public, c.RequestID)
	answer.Err = cause
	if e.Status == StatusLeft {
		answer.Problem.Title = http.StatusText(http.StatusBadRequest) // nobody reads it
	}
	c.Reply(&answer)
}
