package http1_test

import (
	"strings"
	"testing"
	"time"

	"github.com/voicemill/voicemill/gateway/internal/http1"
)

var sample = []byte("POST /v1/jobs HTTP/1.1\r\nHost: 127.0.0.1:9083\r\nContent-Type: application/json\r\n" +
	"Authorization: Bearer sk_test_0123456789abcdef0123456789abcdef\r\nContent-Length: 137\r\n\r\n" + strings.Repeat("x", 137))

func BenchmarkParse(b *testing.B) {
	limits := http1.DefaultLimits()
	p := http1.NewParser(&limits)
	var r http1.Request
	b.ReportAllocs()
	b.SetBytes(int64(len(sample)))
	for b.Loop() {
		if _, done, err := p.Parse(&r, sample); !done || err != nil {
			b.Fatal(done, err)
		}
	}
}

func BenchmarkAppendResponse(b *testing.B) {
	var d http1.Date
	dst := make([]byte, 0, 4096)
	r := http1.Response{Status: 200, Header: []http1.Field{{Name: "Content-Type", Value: "application/json"}, {Name: "Etag", Value: `"42"`}}, Body: sample}
	b.ReportAllocs()
	for b.Loop() {
		dst = http1.AppendResponse(dst[:0], &r, http1.Encoding{Date: d.At(time.Now()), Minor: 1})
	}
}

func TestSizedRequestsAreParsedWithoutAllocating(t *testing.T) {
	limits := http1.DefaultLimits()
	p := http1.NewParser(&limits)
	var r http1.Request
	if n := testing.AllocsPerRun(100, func() {
		if _, done, err := p.Parse(&r, sample); !done || err != nil {
			t.Fatal(done, err)
		}
	}); n != 0 {
		t.Errorf("parsing allocates %v times", n)
	}
}
