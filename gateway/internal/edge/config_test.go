package edge_test

import (
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/voicemill/voicemill/gateway/internal/edge"
	"github.com/voicemill/voicemill/gateway/internal/http1"
)

func TestConfigurationThatCannotWorkIsRefused(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		cfg  edge.Config
		want string
	}{
		"no address":             {edge.Config{}, "neither an address nor a listener"},
		"address of nothing":     {edge.Config{Listen: "256.0.0.1:1"}, "listen on"},
		"negative limit":         {edge.Config{Listen: ":0", MaxConns: -1}, "connection limit is -1"},
		"negative rate":          {edge.Config{Listen: ":0", AcceptRate: -1}, "accept rate is -1"},
		"time-out under a tick":  {edge.Config{Listen: ":0", IdleTimeout: time.Millisecond}, "idle time-out is 1ms; want at least the tick of 100ms"},
		"tick too small":         {edge.Config{Listen: ":0", Tick: time.Nanosecond}, "tick is 1ns"},
		"head over 16 bits":      {edge.Config{Listen: ":0", Limits: http1.Limits{HeadBytes: 1 << 16, Fields: 1, TargetBytes: 1}}, "head limit is 65536"},
		"target over the head":   {edge.Config{Listen: ":0", Limits: http1.Limits{HeadBytes: 100, Fields: 1, TargetBytes: 101}}, "target limit is 101"},
		"TLS without files":      {edge.Config{Listen: ":0", TLS: &edge.TLS{}}, "no certificate"},
		"TLS with missing files": {edge.Config{Listen: ":0", TLS: &edge.TLS{Certificates: []edge.CertificateFiles{{Cert: "none", Key: "none"}}}}, "load certificate none"},
		"TLS that is too old":    {edge.Config{Listen: ":0", TLS: &edge.TLS{Certificates: []edge.CertificateFiles{{}}, MinVersion: 0x0301}}, "minimum version is TLS 1.0"},
		"clients to be verified by nobody": {
			edge.Config{Listen: ":0", TLS: &edge.TLS{Certificates: []edge.CertificateFiles{{}}, RequireCert: true}}, "no authorities",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, err := edge.New(test.cfg, edge.HandlerFunc(echo), slog.New(slog.DiscardHandler))
			if err == nil {
				_ = s.Close()
			}
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("New: %v; want %q", err, test.want)
			}
		})
	}
}

func TestInheritedListenerIsServed(t *testing.T) {
	t.Parallel()
	ln, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	waiting := dial(t, ln.Addr().String()) // before the server exists
	defer func() { _ = waiting.Close() }()
	d := open(t, edge.Config{Listener: ln}, echo)
	c := d.dial()
	c.send(get)
	c.want(200, "GET / ")
	if _, err := waiting.Write([]byte(get)); err != nil {
		t.Fatal(err)
	}
	if n, err := waiting.Read(make([]byte, 9)); n != 9 || err != nil {
		t.Errorf("the connection that waited got %d bytes, %v", n, err)
	}
}

func TestServerThatNeverRanCanBeClosed(t *testing.T) {
	t.Parallel()
	s, err := edge.New(edge.Config{Listen: "127.0.0.1:0"}, edge.HandlerFunc(echo), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if ln, err := new(net.ListenConfig).Listen(t.Context(), "tcp", s.Addr().String()); err != nil {
		t.Errorf("the address is not free: %v", err)
	} else {
		_ = ln.Close()
	}
}

func TestLostListenerEndsTheServer(t *testing.T) {
	t.Parallel()
	d := open(t, edge.Config{}, echo)
	c := d.dial()
	c.send(get)
	c.want(200, "")
	_ = d.Close()
	if err := <-d.done; err == nil {
		t.Error("Run returned nil though its listener was closed by someone else")
	}
	d.done <- nil
}

func TestAcceptRateHoldsConnectionsBack(t *testing.T) {
	t.Parallel()
	d := open(t, edge.Config{AcceptRate: 20}, echo)
	start := time.Now()
	for range 30 {
		c := d.dial()
		c.send(get)
		c.want(200, "")
		_ = c.Close()
	}
	if took := time.Since(start); took < 400*time.Millisecond {
		t.Errorf("30 connections at 20 a second took %s", took)
	}
}
