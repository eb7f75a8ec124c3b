package takeover_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/gateway/internal/takeover"
)

// roleEnv makes the test binary the program that takes over.
const roleEnv = "TAKEOVER_TEST_ROLE"

func TestMain(m *testing.M) {
	if role := os.Getenv(roleEnv); role != "" {
		os.Exit(play(role))
	}
	os.Exit(m.Run())
}

// play serves one connection that says its process id, or fails in some way.
func play(role string) int {
	if role == "fail" {
		return 1
	}
	in, err := takeover.Inherit(os.LookupEnv, "http")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer in.Close()
	if role == "hang" {
		select {}
	}
	l := in.Listener("http")
	if l == nil || in.Listener("other") != nil {
		return 2
	}
	if err := in.Ready(); err != nil {
		return 3
	}
	c, err := l.Accept()
	if err != nil {
		return 4
	}
	if role == "secret" {
		_, _ = fmt.Fprintf(c, "%x\n", in.Secret())
		return 0
	}
	_, _ = fmt.Fprintln(c, os.Getpid())
	return 0
}

func program(role string) takeover.Program {
	return takeover.Program{Path: os.Args[0], Args: os.Args[:1], Env: append(os.Environ(), roleEnv+"="+role, "LISTEN_FDS=7")}
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// ask connects and returns what the server says.
func ask(t *testing.T, addr net.Addr) string {
	t.Helper()
	c, err := new(net.Dialer).DialContext(t.Context(), "tcp", addr.String())
	require.NoError(t, err)
	defer func() { _ = c.Close() }()
	require.NoError(t, c.SetDeadline(time.Now().Add(time.Minute)))
	line, err := bufio.NewReader(c).ReadString('\n')
	require.NoError(t, err)
	return strings.TrimSpace(line)
}

func TestTheNewProcessAcceptsWhatHasConnectedBefore(t *testing.T) {
	t.Parallel()
	l := listen(t)
	early, err := new(net.Dialer).DialContext(t.Context(), "tcp", l.Addr().String()) // nobody accepts it here
	require.NoError(t, err)
	defer func() { _ = early.Close() }()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	pid, err := takeover.Start(ctx, program("serve"), takeover.Socket{Name: "http", Listener: l})
	require.NoError(t, err)
	require.NoError(t, l.Close())
	require.NoError(t, early.SetDeadline(time.Now().Add(time.Minute)))
	line, err := bufio.NewReader(early).ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, strconv.Itoa(pid), strings.TrimSpace(line))
	var status syscall.WaitStatus
	_, err = syscall.Wait4(pid, &status, 0, nil)
	require.NoError(t, err)
	require.Zero(t, status.ExitStatus())
}

func TestAProgramThatFailsLeavesTheOldOneServing(t *testing.T) {
	t.Parallel()
	for role, limit := range map[string]time.Duration{"fail": 20 * time.Second, "hang": 300 * time.Millisecond} {
		l := listen(t)
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		_, err := takeover.Start(ctx, program(role), takeover.Socket{Name: "http", Listener: l})
		cancel()
		require.Error(t, err, role)
		done := make(chan struct{})
		go func() {
			defer close(done)
			if c, err := l.Accept(); err == nil { // and it does not block for ever
				_, _ = fmt.Fprintln(c, "old")
				_ = c.Close()
			}
		}()
		require.Equal(t, "old", ask(t, l.Addr()))
		<-done
		accepting := make(chan error, 1)
		go func() { _, err := l.Accept(); accepting <- err }()
		require.NoError(t, l.Close())
		select {
		case err := <-accepting:
			require.ErrorIs(t, err, net.ErrClosed)
		case <-time.After(time.Minute):
			t.Fatal("the socket was made a blocking one")
		}
	}
	_, err := takeover.Start(t.Context(), takeover.Program{Path: "/no/such/program"})
	require.Error(t, err)
}

func TestASecretIsHandedOverUpToItsLength(t *testing.T) {
	t.Parallel()
	for name, secret := range map[string][]byte{"none": nil, "short": {1, 2, 3}, "longest": bytes.Repeat([]byte{7}, 1024)} {
		l := listen(t)
		p := program("secret")
		p.Secret = secret
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		pid, err := takeover.Start(ctx, p, takeover.Socket{Name: "http", Listener: l})
		cancel()
		require.NoError(t, err, name)
		require.Equal(t, hex.EncodeToString(secret), ask(t, l.Addr()), name)
		_, err = syscall.Wait4(pid, nil, 0, nil)
		require.NoError(t, err)
	}
	p := program("secret")
	p.Secret = make([]byte, 1025)
	_, err := takeover.Start(t.Context(), p)
	require.ErrorContains(t, err, "too long")
}

func TestDescriptorsForAnotherProcessAreLeftAlone(t *testing.T) {
	t.Parallel()
	env := map[string]string{"LISTEN_PID": "1", "LISTEN_FDS": "1"}
	in, err := takeover.Inherit(func(name string) (string, bool) { v, ok := env[name]; return v, ok }, "http")
	require.NoError(t, err)
	require.Nil(t, in.Listener("http"))
	require.NoError(t, in.Ready())
	in.Close()
	env["LISTEN_PID"], env["LISTEN_FDS"] = strconv.Itoa(os.Getpid()), "many"
	_, err = takeover.Inherit(func(name string) (string, bool) { v, ok := env[name]; return v, ok }, "http")
	require.Error(t, err)
}
