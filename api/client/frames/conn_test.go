package frames

import (
	"encoding/binary"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/voicemill/voicemill/api/client"
	"github.com/voicemill/voicemill/api/voicemillv1"
)

// parting greets one client and says goodbye when it is told to.
func parting(t *testing.T, ln net.Listener, goodbye <-chan struct{}) {
	t.Helper()
	conn, err := ln.Accept()
	if err != nil {
		return
	}
	defer func() { _ = conn.Close() }()
	say := func(f *voicemillv1.Frame) {
		b, err := proto.MarshalOptions{}.MarshalAppend(make([]byte, lengthBytes), f)
		if err == nil {
			binary.BigEndian.PutUint32(b, uint32(len(b)-lengthBytes)) //nolint:gosec // some bytes
			_, err = conn.Write(b)
		}
		if err != nil {
			t.Error(err)
		}
	}
	if _, err := io.ReadFull(conn, make([]byte, len(preface))); err != nil {
		t.Error(err)
	}
	if _, err := next(conn); err != nil {
		t.Error(err)
	}
	say(&voicemillv1.Frame{Body: &voicemillv1.Frame_Hello{Hello: &voicemillv1.Hello{}}})
	<-goodbye
	say(&voicemillv1.Frame{Body: &voicemillv1.Frame_Problem{Problem: &voicemillv1.Problem{Status: http.StatusServiceUnavailable}}})
}

func TestACallThatMeetsTheGoodbyeIsToldWhatTheServerSaid(t *testing.T) {
	t.Parallel()
	var lc net.ListenConfig
	ln, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = ln.Close() }()
	goodbye, served := make(chan struct{}), make(chan struct{})
	go func() { defer close(served); parting(t, ln, goodbye) }()
	c, err := Dial(t.Context(), Config{Address: ln.Addr().String()})
	require.NoError(t, err)

	c.writing.Lock() // the call waits between its beginning and its frame
	called := make(chan error, 1)
	go func() {
		_, err := c.Cancel(t.Context(), "job_x")
		called <- err
	}()
	require.Eventually(t, func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return len(c.calls) == 1
	}, 10*time.Second, time.Millisecond)
	close(goodbye)
	<-c.Done()
	c.writing.Unlock()
	var said *client.Problem
	require.ErrorAs(t, <-called, &said)
	require.Equal(t, http.StatusServiceUnavailable, said.Status)
	require.NoError(t, c.Close())
	<-served
}
