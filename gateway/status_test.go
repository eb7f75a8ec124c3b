//go:build !race

package gateway_test

import (
	"bytes"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/gateway"
	"github.com/voicemill/voicemill/gateway/internal/limit"
)

// The race detector makes pools forget on purpose, so this runs without it.
func TestAStatusFromMemoryAllocatesNothing(t *testing.T) {
	w := newWorld(t, func(c *gateway.Config) {
		c.DocumentAge = time.Minute
		c.KeyRate = limit.Rate{Count: 1e6, Per: time.Second, Burst: 1e6}
		c.TenantRate = c.KeyRate
		c.AccessLogRate = 1 // lines are made of memory
	})
	p := w.poller()
	for name, header := range map[string]string{
		"a document": "", "no change": "If-None-Match: W/\"1\"\r\n", "a request id": "X-Request-Id: mine\r\n",
	} {
		one := p.request(header)
		p.roundTrip(t, one) // the connection's own memory
		const runs = 5000
		allocs := testing.AllocsPerRun(runs, func() { p.roundTrip(t, one) })
		require.Zero(t, allocs, name)
	}
}

// poller asks for one job over a connection, without allocating.
type poller struct {
	nc   net.Conn
	head string
	in   []byte
}

func (w *world) poller() *poller {
	w.t.Helper()
	path := "/v1/jobs/" + string(w.stored())
	w.call("GET", path, "")
	nc, err := net.Dial("tcp", strings.TrimPrefix(w.url, "http://")) //nolint:noctx // ends with the test
	require.NoError(w.t, err)
	w.t.Cleanup(func() { _ = nc.Close() })
	return &poller{nc: nc, head: "GET " + path + " HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer " + w.key + "\r\n", in: make([]byte, 64<<10)}
}

func (p *poller) request(header string) []byte { return []byte(p.head + header + "\r\n") }

// roundTrip sends a request and reads one whole answer.
func (p *poller) roundTrip(tb testing.TB, request []byte) []byte {
	if _, err := p.nc.Write(request); err != nil {
		tb.Fatal(err)
	}
	n := 0
	for {
		m, err := p.nc.Read(p.in[n:])
		if err != nil {
			tb.Fatal(err)
		}
		n += m
		head := bytes.Index(p.in[:n], []byte("\r\n\r\n"))
		if head < 0 {
			continue
		}
		size := 0
		if at := bytes.Index(p.in[:head], []byte("Content-Length: ")); at >= 0 {
			for _, c := range p.in[at+len("Content-Length: "):] {
				if c < '0' || c > '9' {
					break
				}
				size = 10*size + int(c-'0')
			}
		}
		if n >= head+4+size {
			return p.in[:n]
		}
	}
}
