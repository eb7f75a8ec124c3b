package services

import (
	"context"
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
)

const (
	readyWithin = time.Minute
	endWithin   = time.Minute
	again       = 20 * time.Millisecond
)

// Start runs a command until the test ends, stops it with SIGTERM and shows its
// log if the test failed. What it writes goes to the file whose name is returned.
func Start(tb testing.TB, cmd *exec.Cmd) (log string) {
	tb.Helper()
	said, err := os.Create(filepath.Join(tb.TempDir(), filepath.Base(cmd.Path)+".log"))
	require.NoError(tb, err)
	cmd.Stdout, cmd.Stderr, cmd.WaitDelay = said, said, time.Second
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	require.NoError(tb, cmd.Start())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = cmd.Wait() // the log says more
	}()
	tb.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-ended:
		case <-time.After(endWithin):
			_ = cmd.Process.Kill()
			<-ended
			tb.Errorf("%s did not end within %s of SIGTERM", filepath.Base(cmd.Path), endWithin)
		}
		_ = said.Close()
		if tb.Failed() {
			text, _ := os.ReadFile(said.Name())
			tb.Logf("%s said:\n%s", filepath.Base(cmd.Path), text)
		}
	})
	return said.Name()
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
		select {
		case <-ctx.Done():
		case <-time.After(again):
		}
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
