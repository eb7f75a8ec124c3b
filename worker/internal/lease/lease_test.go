package lease_test

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/voicemill/voicemill/worker/internal/lease"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// message counts what it is told.
type message struct {
	acks, naks, signs atomic.Int64
	err               error
}

func (m *message) Ack(context.Context) error { m.acks.Add(1); return m.err }
func (m *message) Nak() error                { m.naks.Add(1); return m.err }
func (m *message) InProgress() error         { m.signs.Add(1); return m.err }

func keeper(t *testing.T) *lease.Keeper {
	t.Helper()
	k := lease.NewKeeper(lease.Config{Every: 5 * time.Second, Hard: time.Minute}, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- k.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return k
}

func TestALeaseIsRenewedUntilItIsSettled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := keeper(t)
		var m message
		settled := 0
		l := k.Hold(&m, "job-1", func() { settled++ })
		time.Sleep(16 * time.Second)
		if got := m.signs.Load(); got != 3 {
			t.Errorf("%d signs of life in 16 s; want 3", got)
		}
		if err := l.Ack(t.Context()); err != nil {
			t.Fatalf("Ack: %v", err)
		}
		time.Sleep(time.Minute)
		if got := m.signs.Load(); got != 3 || k.Held() != 0 || settled != 1 {
			t.Errorf("after Ack: %d signs, %d held, settled %d times; want 3, 0, 1", got, k.Held(), settled)
		}
	})
}

func TestALeaseIsSettledOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := keeper(t)
		var m message
		l := k.Hold(&m, "job-1", nil)
		for range 3 {
			if err := errors.Join(l.Nak(), l.Ack(t.Context())); err != nil {
				t.Fatalf("settle: %v", err)
			}
		}
		if m.naks.Load() != 1 || m.acks.Load() != 0 {
			t.Errorf("%d naks, %d acks; want 1 and 0", m.naks.Load(), m.acks.Load())
		}
	})
}

func TestAMessageHeldTooLongIsLetGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := keeper(t)
		var m message
		l := k.Hold(&m, "job-1", nil)
		time.Sleep(time.Hour)
		if got := m.signs.Load(); got != 12 || k.Held() != 0 {
			t.Errorf("%d signs, %d held; want 12 (a minute of them) and 0", got, k.Held())
		}
		if err := l.Ack(t.Context()); err != nil || m.acks.Load() != 1 {
			t.Errorf("Ack of a late lease = %v, %d acks; want it told all the same", err, m.acks.Load())
		}
	})
}

func TestABusThatIsAwayLosesNoLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := keeper(t)
		m := message{err: errors.New("no connection")}
		l := k.Hold(&m, "job-1", nil)
		time.Sleep(11 * time.Second)
		if got := m.signs.Load(); got != 2 || k.Held() != 1 {
			t.Errorf("%d signs, %d held; want 2 and 1", got, k.Held())
		}
		if err := l.Ack(t.Context()); err == nil || k.Held() != 0 {
			t.Errorf("Ack = %v with %d held; want the bus's error and 0", err, k.Held())
		}
	})
}

func TestAMessageIsSettledWithItsLastPart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := keeper(t)
		for name, back := range map[string]bool{"done": false, "one given back": true} {
			var m message
			settled := 0
			parts := k.Hold(&m, "job-1", nil).Parts(3, func() { settled++ })
			for i, p := range parts {
				if m.acks.Load()+m.naks.Load() != 0 {
					t.Errorf("%s: settled before part %d", name, i)
				}
				err := p.Ack(t.Context())
				if i == 0 && back {
					p = parts[1]
					err = p.Nak()
				}
				if err := errors.Join(err, p.Ack(t.Context()), p.Nak()); err != nil { // once is enough
					t.Fatalf("settle: %v", err)
				}
			}
			if acks, naks := m.acks.Load(), m.naks.Load(); settled != 3 || back != (naks == 1) || back == (acks == 1) {
				t.Errorf("%s: %d acks, %d naks, %d parts settled", name, acks, naks, settled)
			}
		}
	})
}

func TestALeaseTakesTheNewestMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := keeper(t)
		var lost, anew message
		l := k.Hold(&lost, "job-1", nil)
		if !l.Adopt(&anew) {
			t.Error("a lease in hand did not take a message")
		}
		time.Sleep(6 * time.Second)
		if err := l.Ack(t.Context()); err != nil || anew.acks.Load() != 1 || anew.signs.Load() != 1 || lost.acks.Load()+lost.signs.Load() != 0 {
			t.Errorf("Ack = %v; the lost message got %d acks and %d signs, the new one %d and %d", err, lost.acks.Load(), lost.signs.Load(), anew.acks.Load(), anew.signs.Load())
		}
		if l.Adopt(&lost) {
			t.Error("a settled lease took a message")
		}
	})
}

func TestConfigValidate(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]lease.Config{
		"no interval":              {Hard: time.Minute},
		"deadline before interval": {Every: time.Minute, Hard: time.Second},
	} {
		if c.Validate() == nil {
			t.Errorf("%s: Validate accepts %+v", name, c)
		}
	}
}
