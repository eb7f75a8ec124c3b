package services

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/platform/lifecycle"
)

const (
	readyWithin = time.Minute
	endWithin   = time.Minute
	again       = 20 * time.Millisecond
)

// Process is a command that runs.
type Process struct {
	Log string // the file that it writes to

	ended chan struct{} // closed when it has ended
	err   error         // how; valid then
}

// Start runs a command until the test ends, stops it with SIGTERM and shows its
// log if the test failed.
func Start(tb testing.TB, cmd *exec.Cmd) *Process {
	tb.Helper()
	said, err := os.Create(filepath.Join(tb.TempDir(), filepath.Base(cmd.Path)+".log"))
	require.NoError(tb, err)
	cmd.Stdout, cmd.Stderr, cmd.WaitDelay = said, said, time.Second
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	require.NoError(tb, cmd.Start())
	p := &Process{Log: said.Name(), ended: make(chan struct{})}
	go func() {
		defer close(p.ended)
		p.err = cmd.Wait()
	}()
	tb.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM) // it may have ended by itself
		select {
		case <-p.ended:
		case <-time.After(endWithin):
			_ = cmd.Process.Kill()
			<-p.ended
			tb.Errorf("%s did not end within %s of SIGTERM", filepath.Base(cmd.Path), endWithin)
		}
		_ = said.Close()
		if tb.Failed() {
			text, _ := os.ReadFile(p.Log)
			tb.Logf("%s said:\n%s", filepath.Base(cmd.Path), text)
		}
	})
	return p
}

// Within waits for the end of the process and returns what [exec.Cmd.Wait] did.
func (p *Process) Within(d time.Duration) error {
	select {
	case <-p.ended:
		return p.err
	case <-time.After(d):
		return fmt.Errorf("it runs still after %s", d)
	}
}

// Get asks until url answers with that status and returns the body.
func Get(tb testing.TB, url string, status int) string {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), readyWithin)
	defer cancel()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	last := "nothing listens"
	for ctx.Err() == nil {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
		require.NoError(tb, err)
		if res, err := client.Do(req); err == nil {
			body, _ := io.ReadAll(res.Body)
			_ = res.Body.Close()
			if last = res.Status + " " + string(body); res.StatusCode == status {
				return string(body)
			}
		}
		lifecycle.Sleep(ctx, again)
	}
	require.Failf(tb, "no such answer in time", "%s: %s", url, last)
	return ""
}

// FreeAddress returns an address of this machine that nothing listens on.
func FreeAddress(tb testing.TB) string {
	tb.Helper()
	var lc net.ListenConfig
	l, err := lc.Listen(tb.Context(), "tcp", "127.0.0.1:0")
	require.NoError(tb, err)
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}
