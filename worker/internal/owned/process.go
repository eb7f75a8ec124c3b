package owned

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/voicemill/voicemill/platform/child"
	"github.com/voicemill/voicemill/platform/lifecycle"
	"github.com/voicemill/voicemill/worker/internal/engine"
)

// process is a running engine and the driver that speaks to it.
type process struct {
	*child.Process

	driver engine.Engine
	began  time.Time

	calls    int           // in progress; under Engine.mu
	requests int           // answered; under Engine.mu
	drained  chan struct{} // under Engine.mu; closed when it is replaced and has no calls; nil before that
}

var errExited = errors.New("the engine exited")

// start starts an engine and waits until it speaks a canary.
func (c Config) start(ctx context.Context, replica int, log *slog.Logger) (*process, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, c.StartTime, fmt.Errorf("it has not spoken within %s", c.StartTime))
	defer cancel()
	ports, err := freePorts(ctx, 3)
	if err != nil {
		return nil, err
	}
	fill := strings.NewReplacer(Port, ports[0], Port2, ports[1], Port3, ports[2], Replica, strconv.Itoa(replica))
	argv, env := filled(fill, c.Argv), filled(fill, c.Env)
	program, err := exec.LookPath(argv[0])
	if err != nil {
		return nil, fmt.Errorf("find the engine's program: %w", err)
	}
	says := newLines(log)
	running, err := child.Start(ctx, child.Config{
		Path: program, Args: argv[1:], Env: env, Server: &child.Server{Dir: c.Dir, Says: says, Grace: c.StopTime},
	})
	if err != nil {
		return nil, fmt.Errorf("start the engine: %w", err)
	}
	p := &process{Process: running, began: time.Now()}
	if p.driver, err = c.Open(net.JoinHostPort("127.0.0.1", ports[0])); err == nil {
		if err = c.prove(ctx, p); err == nil {
			return p, nil
		}
	}
	return nil, errors.Join(err, p.stop())
}

// prove asks p for a canary until it speaks one, it exits or ctx ends.
func (c Config) prove(ctx context.Context, p *process) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		select {
		case <-p.Exited():
			cancel(fmt.Errorf("%w before it spoke: %w", errExited, errors.Join(p.Err(), fmt.Errorf("it said: %s", p.Said()))))
		case <-ctx.Done():
		}
	}()
	pause := c.MinPause
	for {
		err := c.Prove(ctx, p.driver)
		if err == nil {
			return nil
		}
		if errors.Is(err, engine.ErrRefused) {
			return err
		}
		if !lifecycle.Sleep(ctx, pause) {
			return fmt.Errorf("%w; the last canary: %w", context.Cause(ctx), err)
		}
		pause = min(2*pause, 2*time.Second)
	}
}

// stop ends p and returns when it is gone.
func (p *process) stop() (err error) {
	if p.driver != nil {
		err = p.driver.Close()
	}
	p.Stop()
	return err
}

func filled(fill *strings.Replacer, all []string) []string {
	out := make([]string, len(all))
	for i, s := range all {
		out[i] = fill.Replace(s)
	}
	return out
}

// freePorts returns n ports that nobody listens on. An engine that finds one taken all
// the same exits and is started with others.
func freePorts(ctx context.Context, n int) (ports []string, err error) {
	var l net.ListenConfig
	for range n {
		open, err := l.Listen(ctx, "tcp", "127.0.0.1:0")
		if err != nil {
			return nil, fmt.Errorf("find a free port: %w", err)
		}
		defer func() { _ = open.Close() }() // all at the end, so that they differ
		_, port, err := net.SplitHostPort(open.Addr().String())
		if err != nil {
			return nil, fmt.Errorf("find a free port: %w", err)
		}
		ports = append(ports, port)
	}
	return ports, nil
}
