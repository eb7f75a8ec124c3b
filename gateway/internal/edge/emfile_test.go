package edge_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/voicemill/voicemill/gateway/internal/edge"
)

// childEnv makes the test binary a server with few descriptors: a process can
// lower its limit, but not raise it again.
const (
	childEnv         = "EDGE_TEST_DESCRIPTORS"
	childDescriptors = 64
)

// serveWithFewDescriptors is the child. It serves until its input ends.
func serveWithFewDescriptors() int {
	limit := syscall.Rlimit{Cur: childDescriptors, Max: childDescriptors}
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	s, err := edge.New(edge.Config{Listen: "127.0.0.1:0", Loops: 2, DrainIdle: 100 * time.Millisecond},
		edge.HandlerFunc(echo), slog.New(slog.NewTextHandler(os.Stderr, nil)))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	_, _ = fmt.Fprintln(os.Stdout, s.Addr())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		stop()
	}()
	if err := s.Run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func TestServerOutlivesRunningOutOfDescriptors(t *testing.T) {
	t.Parallel()
	child := exec.CommandContext(t.Context(), os.Args[0])
	child.Env = append(os.Environ(), childEnv+"=1")
	var said bytes.Buffer
	child.Stderr = io.MultiWriter(testWriter{t}, &said)
	in, err := child.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	addr, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	addr = strings.TrimSpace(addr)

	connect := func() *client {
		nc := dial(t, addr)
		return &client{nc, bufio.NewReader(nc), t}
	}
	first := connect()
	first.send(get)
	first.want(200, "GET / ")
	var surplus []*client
	for range 2 * childDescriptors {
		surplus = append(surplus, connect())
	}
	first.send(get)
	first.want(200, "GET / ") // while no descriptor is left
	const many = 20 * edge.TurnRequests
	for range many / 2 { // one by one, so that some arrive while others wait for a turn
		first.send(get + get)
	}
	for range many { // though the connection cannot leave its loop
		first.want(200, "GET / ")
	}
	for _, c := range surplus {
		_ = c.Close()
	}
	c := connect()
	c.send(get)
	c.want(200, "GET / ")
	_, _ = c.Close(), first.Close()
	_ = in.Close()
	if err := child.Wait(); err != nil {
		t.Errorf("the server ended with %v", err)
	}
	// A connection that is accepted and cannot be enrolled is no sign that there is room again.
	if n := strings.Count(said.String(), "waiting before accepting"); n == 0 || n > 10 {
		t.Errorf("the server began to wait %d times; want few, for %d connections that it has no room for", n, 2*childDescriptors)
	}
}
