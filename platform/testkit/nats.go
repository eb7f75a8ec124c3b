package testkit

import (
	"fmt"
	"testing"
	"time"

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

// AwaitIntake waits until the schedulers have taken every accepted job from the server
// at url, those among them that a scheduler had in hand when it ended.
func AwaitIntake(tb testing.TB, url string) {
	tb.Helper()
	nc, err := nats.Connect(url)
	if err != nil {
		tb.Fatalf("connect to %s: %v", url, err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		tb.Fatalf("use JetStream at %s: %v", url, err)
	}
	left, deadline := "", time.Now().Add(5*time.Minute)
	for time.Now().Before(deadline) {
		stream, err := js.Stream(tb.Context(), bus.StreamJobs)
		if err == nil && stream.CachedInfo().State.Msgs == 0 {
			return
		}
		left = fmt.Sprint(err)
		if err == nil {
			left = fmt.Sprint(stream.CachedInfo().State.Msgs, " messages")
		}
		<-time.After(100 * time.Millisecond)
	}
	tb.Fatalf("accepted jobs are not taken: %s", left)
}
