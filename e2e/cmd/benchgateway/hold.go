package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// holdRole is the first argument of this program when it holds WebSockets open: a
// process may open 20,000 files only, so there are several beside the server's.
const holdRole = "hold"

// holder opens WebSockets and keeps them, answering pings.
type holder struct {
	addr, path, key string
	source          net.IP
	secure          bool

	opened, lost atomic.Int64
}

// hold opens as many WebSockets as asked, says so in a line, keeps them until in
// ends, and says how many were lost.
func hold(ctx context.Context, args []string, in io.Reader, out io.Writer) error {
	var h holder
	flags := flag.NewFlagSet(holdRole, flag.ContinueOnError)
	flags.StringVar(&h.addr, "addr", "", "server")
	flags.StringVar(&h.path, "path", "", "where it upgrades")
	flags.BoolVar(&h.secure, "tls", false, "speak TLS")
	source := flags.String("source", "127.0.0.1", "address to connect from")
	n := flags.Int("n", 1, "how many")
	if err := flags.Parse(args); err != nil {
		return err
	}
	h.key, h.source = os.Getenv(keyEnv), net.ParseIP(*source)
	ctx, cancel := context.WithCancel(ctx)
	var held sync.WaitGroup
	defer held.Wait()
	defer cancel()
	if err := h.open(ctx, *n, &held); err != nil {
		return err
	}
	_, _ = fmt.Fprintln(out, "holding", h.opened.Load())
	_, _ = io.Copy(io.Discard, in)
	if lost := h.lost.Load(); lost > 0 {
		return fmt.Errorf("%d WebSockets were lost", lost)
	}
	return nil
}

// keyEnv names the API key in the environment of a holder.
const keyEnv = "BENCH_KEY"

func (h *holder) open(ctx context.Context, n int, held *sync.WaitGroup) error {
	const atOnce = 32
	var openers sync.WaitGroup
	var left atomic.Int64
	left.Store(int64(n))
	failed := make(chan error, atOnce)
	for range atOnce {
		openers.Go(func() {
			for left.Add(-1) >= 0 && ctx.Err() == nil {
				c, r, err := h.dial(ctx)
				if err != nil {
					failed <- err
					return
				}
				h.opened.Add(1)
				held.Go(func() { h.keep(ctx, c, r) })
			}
		})
	}
	openers.Wait()
	select {
	case err := <-failed:
		return err
	default:
		return nil
	}
}

// dial opens one WebSocket.
func (h *holder) dial(ctx context.Context) (c net.Conn, r *bufio.Reader, err error) {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: h.source}, Timeout: 30 * time.Second, KeepAlive: -1}
	if c, err = d.DialContext(ctx, "tcp", h.addr); err != nil {
		return nil, nil, err
	}
	defer func() {
		if err != nil {
			_ = c.Close()
		}
	}()
	_ = c.SetDeadline(time.Now().Add(time.Minute))
	if h.secure {
		c = tls.Client(c, &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // its certificate was made a moment ago
	}
	var nonce [16]byte
	if _, err = io.ReadFull(rand.Reader, nonce[:]); err != nil {
		return nil, nil, err
	}
	_, err = fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %s\r\n\r\n", h.path, h.addr, h.key, base64.StdEncoding.EncodeToString(nonce[:]))
	if err != nil {
		return nil, nil, err
	}
	r = bufio.NewReaderSize(c, 512)
	for n := 0; ; n++ {
		line, err := r.ReadString('\n')
		if err != nil {
			return nil, nil, err
		}
		if n == 0 && !strings.Contains(line, fmt.Sprint(http.StatusSwitchingProtocols)) {
			return nil, nil, errors.New("not upgraded: " + line)
		}
		if line == "\r\n" {
			return c, r, c.SetDeadline(time.Time{})
		}
	}
}

const (
	opClose = 8
	opPing  = 9
)

// keep reads frames and answers pings until the connection or ctx ends.
func (h *holder) keep(ctx context.Context, c net.Conn, r *bufio.Reader) {
	defer context.AfterFunc(ctx, func() { _ = c.Close() })()
	for {
		op, data, err := readFrame(r)
		if err == nil && op == opClose {
			err = io.EOF
		}
		if err == nil && op == opPing {
			_, err = c.Write(pong(data))
		}
		if err != nil {
			if ctx.Err() == nil {
				h.lost.Add(1)
			}
			_ = c.Close()
			return
		}
	}
}

// readFrame reads a frame of a server's, of at most 64 KiB.
func readFrame(r *bufio.Reader) (op byte, data []byte, err error) {
	var head [2]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, nil, err
	}
	n := int(head[1])
	if n == 126 {
		var long [2]byte
		if _, err := io.ReadFull(r, long[:]); err != nil {
			return 0, nil, err
		}
		n = int(long[0])<<8 | int(long[1])
	}
	data = make([]byte, n)
	_, err = io.ReadFull(r, data)
	return head[0] & 0xf, data, err
}

// pong is the answer to a ping, with a mask of zeros.
func pong(data []byte) []byte {
	return append([]byte{0x80 | 0xA, 0x80 | byte(len(data)), 0, 0, 0, 0}, data...)
}
