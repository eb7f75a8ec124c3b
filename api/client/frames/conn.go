package frames

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/voicemill/voicemill/api/client"
	"github.com/voicemill/voicemill/api/voicemillv1"
	"github.com/voicemill/voicemill/job"
)

// Config says where the server is and who calls.
type Config struct {
	Address string      // host:port
	Key     string      // API key; empty if the certificate in TLS is one
	TLS     *tls.Config // nil speaks no TLS
	Agent   string      // empty means "voicemill-client"
	Window  uint32      // bytes of events that a watch may have unread; 0 means 4 KiB
}

const (
	preface       = "VML1"
	lengthBytes   = 4
	maxFrame      = 1 << 20
	defaultWindow = 4 << 10 // some sixty events
)

var (
	// ErrClosed means that the connection has ended.
	ErrClosed = errors.New("the connection is closed")

	errProtocol = errors.New("the server does not keep to the protocol")
)

// Conn is one connection. Its methods are safe for concurrent use. Close ends it.
type Conn struct {
	conn   net.Conn
	window uint32
	most   int // calls at a time, as the server says

	writing sync.Mutex // held while a frame is written

	mu    sync.Mutex
	calls map[uint32]chan *voicemillv1.Frame // guarded by mu; nil once the connection has ended
	last  uint32                             // guarded by mu
	err   error                              // guarded by mu: why it ended

	done   chan struct{} // closed when it has ended
	reader sync.WaitGroup
}

// Dial connects and introduces the client. ctx bounds that only. An error may be
// a *[client.Problem].
func Dial(ctx context.Context, cfg Config) (*Conn, error) {
	if cfg.Window == 0 {
		cfg.Window = defaultWindow
	}
	if cfg.Agent == "" {
		cfg.Agent = "voicemill-client"
	}
	var d net.Dialer
	raw, err := d.DialContext(ctx, "tcp", cfg.Address)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", cfg.Address, err)
	}
	if cfg.TLS != nil {
		raw = tls.Client(raw, cfg.TLS)
	}
	c := &Conn{conn: raw, window: cfg.Window, calls: map[uint32]chan *voicemillv1.Frame{}, done: make(chan struct{})}
	stop := context.AfterFunc(ctx, func() { _ = raw.SetDeadline(time.Unix(1, 0)) })
	r := bufio.NewReader(raw)
	err = c.introduce(cfg, r)
	if !stop() && err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		_ = raw.Close()
		return nil, fmt.Errorf("introduce the client to %s: %w", cfg.Address, err)
	}
	c.reader.Go(func() { c.end(c.read(r)) })
	return c, nil
}

func (c *Conn) introduce(cfg Config, r *bufio.Reader) error {
	if _, err := io.WriteString(c.conn, preface); err != nil {
		return err
	}
	hello := &voicemillv1.Hello{Agent: cfg.Agent, Window: cfg.Window}
	if cfg.Key != "" {
		hello.Authorization = "Bearer " + cfg.Key
	}
	err := c.send(&voicemillv1.Frame{Body: &voicemillv1.Frame_Hello{Hello: hello}})
	if err != nil {
		return err
	}
	f, err := next(r)
	if err != nil {
		return err
	}
	if p := f.GetProblem(); p != nil {
		return problem(p)
	}
	if f.GetHello() == nil {
		return errProtocol
	}
	c.most = max(1, int(f.GetHello().GetMaxStreams()))
	return nil
}

// Done returns a channel that is closed when the connection has ended.
func (c *Conn) Done() <-chan struct{} { return c.done }

// Err returns why the connection has ended, or nil while it lives.
func (c *Conn) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// Close ends the connection and every call on it.
func (c *Conn) Close() error {
	c.end(ErrClosed)
	c.reader.Wait()
	return nil
}

func (c *Conn) end(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return
	}
	c.err, c.calls = err, nil
	close(c.done)
	_ = c.conn.Close()
}

func next(r io.Reader) (*voicemillv1.Frame, error) {
	var length [lengthBytes]byte
	if _, err := io.ReadFull(r, length[:]); err != nil {
		return nil, fmt.Errorf("read a frame: %w", err)
	}
	size := binary.BigEndian.Uint32(length[:])
	if size > maxFrame {
		return nil, fmt.Errorf("%w: a frame of %d bytes", errProtocol, size)
	}
	b := make([]byte, size)
	if _, err := io.ReadFull(r, b); err != nil {
		return nil, fmt.Errorf("read a frame: %w", err)
	}
	f := &voicemillv1.Frame{}
	if err := proto.Unmarshal(b, f); err != nil {
		return nil, fmt.Errorf("%w: %w", errProtocol, err)
	}
	return f, nil
}

// read gives every frame to its call until the connection ends. A call's channel
// has room for all that its window lets the server send, so nobody is waited for.
func (c *Conn) read(r io.Reader) error {
	for {
		f, err := next(r)
		if err != nil {
			return err
		}
		if f.GetStream() == 0 {
			switch {
			case f.GetProblem() != nil:
				return problem(f.GetProblem())
			case f.GetPing() != nil:
				pong := &voicemillv1.Frame{Body: &voicemillv1.Frame_Pong{Pong: &voicemillv1.Pong{Data: f.GetPing().GetData()}}}
				if err := c.send(pong); err != nil {
					return err
				}
			}
			continue
		}
		c.mu.Lock()
		call := c.calls[f.GetStream()]
		c.mu.Unlock()
		if call == nil {
			continue // of a call that was left
		}
		select {
		case call <- f:
		default:
			return fmt.Errorf("%w: more frames than the window allows", errProtocol)
		}
	}
}

func (c *Conn) send(f *voicemillv1.Frame) error {
	b := make([]byte, lengthBytes, 256)
	b, err := proto.MarshalOptions{}.MarshalAppend(b, f)
	if err != nil {
		return fmt.Errorf("encode a frame: %w", err)
	}
	if len(b)-lengthBytes > maxFrame {
		return fmt.Errorf("a frame of %d bytes; at most %d: upload the text instead", len(b)-lengthBytes, maxFrame)
	}
	binary.BigEndian.PutUint32(b, uint32(len(b)-lengthBytes)) //nolint:gosec // at most maxFrame
	c.writing.Lock()
	defer c.writing.Unlock()
	if _, err := c.conn.Write(b); err != nil {
		return fmt.Errorf("send a frame: %w", err)
	}
	return nil
}

// open begins a call. room is how many frames may wait for whoever reads them.
func (c *Conn) open(f *voicemillv1.Frame, room int) (<-chan *voicemillv1.Frame, error) {
	answers := make(chan *voicemillv1.Frame, room)
	c.mu.Lock()
	if c.calls == nil {
		defer c.mu.Unlock()
		return nil, c.err
	}
	if len(c.calls) >= c.most {
		c.mu.Unlock()
		return nil, &job.Error{Op: "frames.open", Kind: job.Overloaded, Public: "As many calls are open on the connection as it may have."}
	}
	for taken := true; taken; _, taken = c.calls[c.last] {
		c.last = max(c.last+1, 1)
	}
	f.Stream = c.last
	c.calls[c.last] = answers
	c.mu.Unlock()
	if err := c.send(f); err != nil {
		return nil, c.broken(err)
	}
	return answers, nil
}

// lastWords is how long what the server said before it closed is waited for.
const lastWords = time.Second

// broken ends the connection after a frame could not be sent, and returns why it
// ended: what the server said, if it did, and not that it is closed.
func (c *Conn) broken(err error) error {
	late := time.NewTimer(lastWords)
	defer late.Stop()
	select {
	case <-c.done:
	case <-late.C:
	}
	c.end(err)
	return c.Err()
}

// forget ends a call here. Its stream number is not used again soon, so what the
// server may still send does not meet another call.
func (c *Conn) forget(stream uint32) {
	c.mu.Lock()
	delete(c.calls, stream)
	c.mu.Unlock()
}

// ask makes a call that has one answer.
func (c *Conn) ask(ctx context.Context, f *voicemillv1.Frame) (*voicemillv1.Frame, error) {
	answers, err := c.open(f, 1)
	if err != nil {
		return nil, err
	}
	defer c.forget(f.GetStream())
	select {
	case a := <-answers:
		if p := a.GetProblem(); p != nil {
			return nil, problem(p)
		}
		return a, nil
	case <-ctx.Done():
		c.leave(f.GetStream())
		return nil, context.Cause(ctx)
	case <-c.done:
		return nil, c.Err()
	}
}

// leave tells the server that nobody waits for the call any more.
func (c *Conn) leave(stream uint32) {
	if err := c.send(&voicemillv1.Frame{Stream: stream, Body: &voicemillv1.Frame_Cancel{Cancel: &voicemillv1.Cancel{}}}); err != nil {
		_ = c.broken(err)
	}
}

func problem(m *voicemillv1.Problem) error {
	p := &client.Problem{
		Type: m.GetType(), Title: m.GetTitle(), Status: int(m.GetStatus()), Detail: m.GetDetail(), RequestID: m.GetRequestId(),
		RetryAfter: time.Duration(m.GetRetryAfterSeconds()) * time.Second,
	}
	p.MoreErrors = int(m.GetMoreErrors())
	for _, f := range m.GetErrors() {
		p.Errors = append(p.Errors, job.Fault{Pointer: f.GetPointer(), Detail: f.GetDetail()})
	}
	return p
}
