package testkit

import (
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/voicemill/voicemill/platform/bus"
	"github.com/voicemill/voicemill/platform/embed/natsd"
)

// NATS returns a bus on a JetStream server of the test's own, with both
// streams set up and every message synced to disk as in production.
func NATS(tb testing.TB) *bus.Bus {
	tb.Helper()
	return Bus(tb, NATSServer(tb, tb.TempDir()), bus.Config{})
}

// NATSServer returns a server over dir that ends with the test. Stop it and
// call NATSServer again to see a restart.
func NATSServer(tb testing.TB, dir string) *natsd.Server {
	tb.Helper()
	s, err := natsd.Start(tb.Context(), natsd.Config{StoreDir: dir}, Log(tb))
	if err != nil {
		tb.Fatalf("start a NATS server for the test: %v", err)
	}
	tb.Cleanup(s.Stop)
	return s
}

// Bus returns a bus of its own on s, set up, for a test that needs several or
// other settings.
func Bus(tb testing.TB, s *natsd.Server, cfg bus.Config) *bus.Bus {
	tb.Helper()
	b, err := bus.Connect(tb.Context(), cfg, Log(tb), bus.InProcess(s))
	if err != nil {
		tb.Fatalf("connect to the test's NATS server: %v", err)
	}
	tb.Cleanup(b.Close)
	if err := b.Setup(tb.Context()); err != nil {
		tb.Fatalf("set up the streams: %v", err)
	}
	return b
}

// DropWork deletes WORK and all that it holds, as the end of its server does.
func DropWork(tb testing.TB, s *natsd.Server) {
	tb.Helper()
	nc, err := nats.Connect("", nats.InProcessServer(s))
	if err != nil {
		tb.Fatalf("connect to the test's NATS server: %v", err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err == nil {
		err = js.DeleteStream(tb.Context(), bus.StreamWork)
	}
	if err != nil {
		tb.Fatalf("delete WORK: %v", err)
	}
}
