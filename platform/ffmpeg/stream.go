package ffmpeg

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"sync"

	"github.com/voicemill/voicemill/job"
)

// Stream is one process. One goroutine may write while another one reads; Close
// may be called by any and makes both return.
type Stream struct {
	in     io.WriteCloser
	out    io.Reader
	cmd    *exec.Cmd
	kill   context.CancelFunc
	say    *tail
	finish func() error // waits for the process, once, and returns how it ended
}

// Start starts the program, which ctx bounds. The caller closes the stream; released
// is called once, when the process is gone.
func (p *Program) Start(ctx context.Context, released func(), args ...string) (*Stream, error) {
	ctx, kill := context.WithCancel(ctx)
	s := &Stream{kill: kill, say: &tail{}}
	s.cmd = command(ctx, p.Path, args...)
	s.cmd.Stderr = s.say
	var err error
	if s.in, err = s.cmd.StdinPipe(); err == nil {
		s.out, err = s.cmd.StdoutPipe()
	}
	if err == nil {
		err = s.cmd.Start()
	}
	if err != nil {
		kill()
		return nil, fmt.Errorf("start ffmpeg: %w", err)
	}
	s.finish = sync.OnceValue(func() error {
		defer released()
		defer kill()
		return s.cmd.Wait()
	})
	return s, nil
}

// Write hands samples in. It blocks while ffmpeg has enough.
func (s *Stream) Write(samples []byte) (int, error) { return s.in.Write(samples) }

// CloseWrite says that no more samples come.
func (s *Stream) CloseWrite() error { return s.in.Close() }

// Read returns compressed audio. It blocks until there is some, and returns
// io.EOF when all is read and ffmpeg has ended well.
func (s *Stream) Read(p []byte) (int, error) {
	n, err := s.out.Read(p)
	if err == nil || n > 0 {
		return n, nil
	}
	if ended := s.finish(); ended != nil { // first: why it ended says more than that its output did
		err = ended
	}
	if errors.Is(err, io.EOF) {
		return 0, io.EOF
	}
	return 0, &job.Error{Op: "ffmpeg.Read", Kind: job.Internal, Err: fmt.Errorf("ffmpeg: %w: %s", err, s.say)}
}

// Close ends the process, if it still runs, and waits for it.
func (s *Stream) Close() {
	s.kill()
	_ = s.finish() // how a process ended that nobody reads any more says nothing
}

// tail keeps the beginning of what a process says of its troubles.
type tail struct {
	mu sync.Mutex
	b  []byte // guarded by mu
}

const maxTail = 1 << 10

// Write implements [io.Writer].
func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.b = append(t.b, p[:min(len(p), maxTail-len(t.b))]...)
	return len(p), nil
}

// String returns what was said.
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.b)
}
