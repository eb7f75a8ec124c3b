package edge_test

import (
	"net"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/voicemill/voicemill/gateway/internal/edge"
)

// A client that vanished without a word must be found out, though nothing is set on
// its connection.
func TestAConnectionInheritsKeepAlive(t *testing.T) {
	t.Parallel()
	ln, err := edge.Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	client := dial(t, ln.Addr().String())
	defer func() { _ = client.Close() }()
	nc, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = nc.Close() }()
	raw, err := nc.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	want := func(fd, level, option, value int) {
		if got, err := unix.GetsockoptInt(fd, level, option); err != nil || got != value {
			t.Errorf("option %d of level %d is %d, %v; want %d", option, level, got, err, value)
		}
	}
	err = raw.Control(func(fd uintptr) {
		want(int(fd), unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1)
		want(int(fd), unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, 15)
		want(int(fd), unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, 15)
		want(int(fd), unix.IPPROTO_TCP, unix.TCP_KEEPCNT, 9)
		want(int(fd), unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	})
	if err != nil {
		t.Fatal(err)
	}
}
