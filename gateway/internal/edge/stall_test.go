package edge_test

import (
	"crypto/tls"
	"errors"
	"io"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/voicemill/voicemill/gateway/internal/edge"
	"github.com/voicemill/voicemill/gateway/internal/http1"
)

func TestPeerThatDoesNotReadDoesNotHoldUpTheDrain(t *testing.T) {
	t.Parallel()
	var writers sync.WaitGroup
	cfg := edge.Config{WriteStall: 2 * time.Minute, Grace: 2 * time.Minute, DrainStall: 50 * time.Millisecond}
	begun := make(chan struct{})
	d := open(t, cfg, func(ex *edge.Exchange) {
		ex.Upgrade([]http1.Field{{Name: "Upgrade", Value: "watch"}}, func(c *edge.Conn) edge.ConnHandler {
			writers.Go(func() { // as much as the peer lets it
				for err := error(nil); err == nil; {
					if err = c.Write(make([]byte, 64<<10)); errors.Is(err, edge.ErrCongested) {
						room := make(chan struct{})
						if c.AskRoom(func() { close(room) }) {
							select {
							case <-room:
								err = nil
							case <-c.Context().Done():
							}
						}
					}
				}
			})
			close(begun)
			return staying{}
		})
	})
	d.dial().send("GET / HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: watch\r\n\r\n")
	<-begun
	d.close()
	writers.Wait()
	if n := d.Stats().CutStalled.Load(); n != 1 {
		t.Errorf("%d connections were cut because they did not read; want 1", n)
	}
}

// drip reads n bytes of an endless answer in every tick, until it fails or has read
// most, and returns how much it read.
func drip(c *client, n, most int, tick time.Duration) (read int) {
	t := time.NewTicker(tick)
	defer t.Stop()
	for p := make([]byte, n); read < most; <-t.C {
		m, err := io.ReadFull(c.TCPConn, p)
		if read += m; err != nil {
			break
		}
	}
	return read
}

// endless answers without end, as fast as the peer reads.
func endless(ex *edge.Exchange) { give(ex, http1.UnknownLength, &pattern{size: 1 << 40}, func() {}) }

func TestAPeerThatReadsDropByDropGivesItsStreamBack(t *testing.T) {
	t.Parallel()
	d := open(t, edge.Config{WriteStall: time.Minute, WriteRate: 64 << 10, WriteWindow: 500 * time.Millisecond, MaxBodies: 1}, endless)
	c := d.dial()
	_ = c.SetReadBuffer(8 << 10)
	c.send(get)
	var dripping sync.WaitGroup
	dripping.Go(func() { drip(c, 100, 1<<30, 20*time.Millisecond) })
	waitFor(t, "the stream to begin", func() bool { return d.Stats().Bodies.Load() == 1 })
	waitFor(t, "the stream to end", func() bool { return d.Stats().Bodies.Load() == 0 })
	if n := d.Stats().CutStalled.Load(); n != 1 {
		t.Errorf("%d connections were cut because they did not read; want 1", n)
	}
	_ = c.Close()
	dripping.Wait()
}

func TestAPeerThatReadsSteadilyIsNotCut(t *testing.T) {
	t.Parallel()
	// The kernel has megabytes for the peer, and no room to report for seconds.
	d := open(t, edge.Config{WriteStall: 2 * time.Second, WriteWindow: 2 * time.Second}, endless)
	c := d.dial()
	_ = c.SetReadBuffer(64 << 10)
	c.send(get)
	const most = 2 << 20
	if n := drip(c, 32<<10, most, 100*time.Millisecond); n < most {
		t.Errorf("cut after %d bytes", n)
	}
	if n := d.Stats().CutStalled.Load(); n != 0 {
		t.Errorf("%d connections were cut", n)
	}
}

// staying is a protocol that has not come to its end when the server drains.
type staying struct{ discard }

func (staying) OnDrain(*edge.Conn) {}

// Not parallel: it takes the time of the process.
func TestAPeerThatDoesNotReadCostsNoTime(t *testing.T) {
	a := newAuthority(t)
	d := open(t, edge.Config{TLS: &edge.TLS{Certificates: []edge.CertificateFiles{a.issue("h", "h")}}}, endless)
	plain := d.dial()
	plain.send(get)
	packed, err := d.dialTLS(&tls.Config{RootCAs: a.pool, ServerName: "h"}, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(packed, get); err != nil {
		t.Fatal(err)
	}
	var last uint64
	still := 0
	waitFor(t, "both to stand still", func() bool { // for 100 looks, because nothing announces it
		if n := d.Stats().BytesOut.Load(); n != last || d.Stats().Bodies.Load() < 2 {
			last, still = n, 0
		}
		still++
		return still > 100
	})
	before := spent(t)
	<-time.After(time.Second)
	if took := spent(t) - before; took > time.Second/2 {
		t.Errorf("a second of two peers that do not read took %s", took)
	}
	if n := d.Stats().Bodies.Load(); n != 2 {
		t.Errorf("%d streams wait; want 2", n)
	}
}

// spent is the time on processors that the process has used.
func spent(t *testing.T) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
