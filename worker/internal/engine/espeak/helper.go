package espeak

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/voicemill/voicemill/worker/internal/engine/espeak/wire"
)

const (
	startTimeout = 10 * time.Second       // from start to hello
	stopTimeout  = 500 * time.Millisecond // from the end of its input to the kill

	// samplesPerByte is how long a byte of text is in speech, on the generous side
	// in most languages: 14 a second.
	samplesPerByte = nativeRate / 14
)

var (
	errStartTimeout = fmt.Errorf("no hello within %s", startTimeout)
	errExited       = errors.New("helper exited")
)

// helper is one helper process. Whoever started it calls stop. Apart from
// stop's own waiting it is used by one goroutine at a time.
type helper struct {
	kill   context.CancelFunc // safe to call at any time, from any goroutine
	input  *os.File
	output *os.File
	w      *wire.Writer
	r      *wire.Reader
	hello  wire.Hello
	pid    int

	stderr  tail
	exited  chan struct{} // closed by the goroutine that waits for the process
	exitErr error         // valid once exited is closed
}

// answer is what a helper said to one request. The caller owns it.
type answer struct {
	samples []int16
	events  []wire.Event
	done    wire.Done
}

// startHelper starts a process and waits for its hello. The process lives until
// stop; ctx bounds the start only.
func startHelper(ctx context.Context, path string, cfg Config) (*helper, error) {
	childIn, input, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("make a pipe: %w", err)
	}
	output, childOut, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("make a pipe: %w", err), childIn.Close(), input.Close())
	}
	life, kill := context.WithCancel(context.WithoutCancel(ctx))
	h := &helper{
		kill: kill, input: input, output: output,
		w: wire.NewWriter(input), r: wire.NewReader(output),
		exited: make(chan struct{}),
	}
	cmd := exec.CommandContext(life, path, arguments(cfg)...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = childIn, childOut, &h.stderr
	cmd.Env = []string{"HOME=/nonexistent"} // the library looks for data below it, and nowhere else that we want
	cmd.SysProcAttr = procAttr()
	cmd.WaitDelay = stopTimeout
	err = cmd.Start()
	_, _ = childIn.Close(), childOut.Close() // the child has its own
	if err != nil {
		kill()
		return nil, errors.Join(fmt.Errorf("start %s: %w", path, err), input.Close(), output.Close())
	}
	h.pid = cmd.Process.Pid
	go func() { // ends with the process, which stop ends
		h.exitErr = cmd.Wait()
		close(h.exited)
	}()
	if err := h.greet(ctx); err != nil {
		err = fmt.Errorf("start %s: %w", path, h.explain(err))
		h.stop()
		return nil, err
	}
	return h, nil
}

func arguments(cfg Config) []string {
	args := []string{"-max-seconds", strconv.Itoa(int(cfg.MaxAudio / time.Second))}
	if cfg.Library != "" {
		args = append(args, "-library", cfg.Library)
	}
	if cfg.DataPath != "" {
		args = append(args, "-data", cfg.DataPath)
	}
	return args
}

func (h *helper) greet(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, startTimeout, errStartTimeout)
	defer cancel()
	defer context.AfterFunc(ctx, h.kill)()

	t, body, err := h.r.Next()
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case err != nil:
		return err
	case t != wire.TypeHello:
		return fmt.Errorf("frame of type %c instead of hello: %w", t, wire.ErrProtocol)
	}
	if err := wire.DecodeJSON(body, &h.hello); err != nil {
		return err
	}
	if h.hello.Version != wire.Version {
		return fmt.Errorf("helper speaks version %d; want %d; build it again: %w", h.hello.Version, wire.Version, wire.ErrProtocol)
	}
	if h.hello.Rate != nativeRate {
		return fmt.Errorf("espeak-ng %s speaks at %d Hz; want %d", h.hello.Library, h.hello.Rate, nativeRate)
	}
	return nil
}

// speak sends q and collects the answer. When ctx ends the process is killed
// and the error is the cause of ctx. After an error the helper is of no more
// use; stop it.
func (h *helper) speak(ctx context.Context, q wire.Request, maxSamples int64) (answer, error) {
	defer context.AfterFunc(ctx, h.kill)()
	a, err := h.exchange(q, maxSamples)
	switch {
	case err == nil:
		return a, nil
	case ctx.Err() != nil:
		return answer{}, context.Cause(ctx)
	}
	return answer{}, h.explain(err)
}

func (h *helper) exchange(q wire.Request, maxSamples int64) (answer, error) {
	if err := h.w.WriteJSON(wire.TypeRequest, q); err != nil {
		return answer{}, fmt.Errorf("write request: %w", err)
	}
	if err := h.w.Flush(); err != nil {
		return answer{}, fmt.Errorf("write request: %w", err)
	}
	a := answer{samples: make([]int16, 0, min(int64(len(q.Text))*samplesPerByte*normalWPM/int64(max(q.WPM, 1)), maxSamples))}
	for {
		t, body, err := h.r.Next()
		if err != nil {
			return answer{}, err
		}
		switch t {
		case wire.TypeAudio:
			a.samples, err = wire.DecodeSamples(a.samples, body)
			if err == nil && int64(len(a.samples)) > maxSamples {
				err = fmt.Errorf("more than %d samples: %w", maxSamples, wire.ErrProtocol)
			}
		case wire.TypeEvents:
			a.events, err = wire.DecodeEvents(a.events, body)
			if err == nil && len(a.events) > maxEvents(q) {
				err = fmt.Errorf("%d events for one text: %w", len(a.events), wire.ErrProtocol)
			}
		case wire.TypeDone:
			return a, a.finish(q, body)
		default:
			err = fmt.Errorf("frame of type %c in an answer: %w", t, wire.ErrProtocol)
		}
		if err != nil {
			return answer{}, err
		}
	}
}

// maxEvents is far above what the library makes of a text: a character is at
// most a handful of words.
func maxEvents(q wire.Request) int { return 64*len(q.Text) + 1024 }

func (a *answer) finish(q wire.Request, body []byte) error {
	if err := wire.DecodeJSON(body, &a.done); err != nil {
		return err
	}
	if a.done.ID != q.ID || a.done.Samples != int64(len(a.samples)) {
		return fmt.Errorf("answer %d with %d samples ends as answer %d with %d: %w",
			q.ID, len(a.samples), a.done.ID, a.done.Samples, wire.ErrProtocol)
	}
	return nil
}

// explain adds how the process ended to err, if it did, and what it said last.
// It waits for a process whose output has ended.
func (h *helper) explain(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, os.ErrClosed) || isBrokenPipe(err) {
		h.kill() // it closed its output, so it is ending or broken
		<-h.exited
		err = fmt.Errorf("%w: %w", errExited, orEOF(h.exitErr))
	}
	if said := strings.TrimSpace(h.stderr.String()); said != "" {
		return fmt.Errorf("%w; it said: %s", err, said)
	}
	return err
}

func orEOF(err error) error {
	if err == nil {
		return io.EOF
	}
	return err
}

// alive reports whether the process still runs.
func (h *helper) alive() bool {
	select {
	case <-h.exited:
		return false
	default:
		return true
	}
}

// stop ends the process, politely at first, and returns when it is gone.
func (h *helper) stop() {
	_ = h.input.Close() // the helper exits at the end of its input
	timer := time.NewTimer(stopTimeout)
	defer timer.Stop()
	select {
	case <-h.exited:
	case <-timer.C:
	}
	h.kill()
	<-h.exited
	_ = h.output.Close()
}

// tail keeps the last bytes written to it.
type tail struct {
	mu    sync.Mutex
	bytes []byte // guarded by mu
}

const tailBytes = 2 << 10

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.bytes = append(t.bytes, p[max(0, len(p)-tailBytes):]...)
	t.bytes = t.bytes[max(0, len(t.bytes)-tailBytes):]
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.ToValidUTF8(string(t.bytes), "�")
}
