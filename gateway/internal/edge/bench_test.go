package edge_test

import (
	"bytes"
	"io"
	"testing"

	"github.com/voicemill/voicemill/gateway/internal/edge"
	"github.com/voicemill/voicemill/gateway/internal/http1"
)

// BenchmarkKeepAlive measures requests over loopback connections, one at a time
// and pipelined. Client and server share the cores.
func BenchmarkKeepAlive(b *testing.B) {
	for name, depth := range map[string]int{"depth=1": 1, "depth=16": 16} {
		b.Run(name, func(b *testing.B) {
			header := []http1.Field{{Name: "Content-Type", Value: "application/json"}}
			body := []byte(`{"id":"job_0123456789","state":"running","version":42}`)
			d := open(b, edge.Config{}, func(ex *edge.Exchange) {
				ex.Respond(http1.Response{Status: 200, Header: header, Body: body})
			})
			request := bytes.Repeat([]byte("GET /v1/jobs/job_0123456789 HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer vm_0123456789\r\nAccept: */*\r\n\r\n"), depth)
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				nc := dial(b, d.Addr().String())
				defer func() { _ = nc.Close() }()
				one := http1.AppendResponse(nil, &http1.Response{Status: 200, Header: header, Body: body},
					http1.Encoding{Date: "Mon, 02 Jan 2006 15:04:05 GMT", Minor: 1})
				in := make([]byte, len(one)*depth)
				for pb.Next() {
					if _, err := nc.Write(request); err != nil {
						b.Error(err)
						return
					}
					if _, err := io.ReadFull(nc, in); err != nil {
						b.Error(err)
						return
					}
				}
			})
			b.ReportMetric(float64(b.N*depth)/b.Elapsed().Seconds(), "requests/s")
		})
	}
}
