package edge_test

import (
	"crypto/tls"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/voicemill/voicemill/gateway/internal/edge"
)

// TestBodiesAreStreamedOverTLS checks that a connection leaves its loop and comes
// back with its records in order.
func TestBodiesAreStreamedOverTLS(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	slow := func(ex *edge.Exchange, b *edge.Body) {
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		digestWith(ex, b, func() { <-tick.C })
	}
	d := openWith(t, edge.Config{TLS: &edge.TLS{Certificates: []edge.CertificateFiles{a.issue("h", "h")}}}, uploads(slow))
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for _, cut := range []int{700, 1 << 20} {
			c, err := d.dialTLS(&tls.Config{RootCAs: a.pool, ServerName: "h", MinVersion: version, MaxVersion: version}, cut)
			if err != nil {
				t.Fatal(err)
			}
			const size = 1_500_000
			body := content(size)
			before := d.Stats().Departed.Load()
			for range 2 { // the second on a connection that came back
				for _, raw := range []string{put(body), putChunked(body, 30_000)} {
					if got, err := c.exchange(raw); err != nil || got.body != said(size) {
						t.Fatalf("version %x, cut %d: %+v, %v; want %q", version, cut, got, err, said(size))
					}
				}
				if got, err := c.exchange(get); err != nil || got.body != "GET / " {
					t.Fatalf("after it: %+v, %v", got, err)
				}
			}
			if d.Stats().Departed.Load() < before+4 {
				t.Errorf("the connection left its loop %d times; want 4", d.Stats().Departed.Load()-before)
			}
			if _, err := io.WriteString(c, put(body)[:100_000]); err != nil {
				t.Fatal(err)
			}
			_ = c.CloseWrite() // close_notify in the middle of a body
			resp, err := http.ReadResponse(c.r, nil)
			if err != nil || resp.StatusCode != 400 {
				t.Fatalf("cut short: %+v, %v", resp, err)
			}
			_ = resp.Body.Close()
			_ = c.Close()
		}
	}
	waitFor(t, "everything to be over", func() bool { return d.Stats().Open.Load() == 0 && d.Stats().Bodies.Load() == 0 })
}
