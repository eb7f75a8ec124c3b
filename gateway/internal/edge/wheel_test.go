package edge

import (
	"math/rand/v2"
	"testing"
	"time"
)

const testTick = 10 * time.Millisecond

func TestTimersFireOnceAtTheirTickAndNotBefore(t *testing.T) {
	t.Parallel()
	w := newWheel[int](testTick)
	delays := []time.Duration{0, 1, testTick - 1, testTick, testTick + 1, 5 * testTick, slots * testTick, (slots + 1) * testTick, 3 * slots * testTick}
	timers := make([]timer[int], len(delays))
	fired := make([]time.Duration, len(delays))
	for i, d := range delays {
		timers[i].owner = i
		w.schedule(&timers[i], d)
	}
	for clock := time.Duration(0); clock <= 4*slots*testTick; clock += testTick {
		w.advance(clock, func(i int) {
			if fired[i] != 0 {
				t.Errorf("timer %d fires twice", i)
			}
			fired[i] = clock
		})
	}
	for i, d := range delays {
		if fired[i] < d || fired[i] > d+testTick {
			t.Errorf("timer for %s fires at %s", d, fired[i])
		}
	}
	if w.count != 0 {
		t.Errorf("%d timers are left", w.count)
	}
}

func TestNextIsNeverLate(t *testing.T) {
	t.Parallel()
	w := newWheel[int](testTick)
	if w.next() != 0 {
		t.Error("an empty wheel wants to be looked at")
	}
	for _, d := range []time.Duration{1, testTick, 100 * testTick, (slots - 1) * testTick, slots * testTick, 5 * slots * testTick} {
		var tm timer[int]
		w.schedule(&tm, time.Duration(w.now)*testTick+d)
		looks := 0
		for fired := false; !fired; looks++ {
			at := w.next()
			if at > time.Duration(tm.tick)*testTick {
				t.Fatalf("timer for %s: next look at %s", d, at)
			}
			w.advance(at, func(int) { fired = true })
		}
		if looks > int(d/(slots*testTick))+2 {
			t.Errorf("timer for %s: %d looks", d, looks)
		}
	}
}

func TestLongPauseFiresEverythingThatIsDue(t *testing.T) {
	t.Parallel()
	w := newWheel[int](testTick)
	timers := make([]timer[int], 2000)
	for i := range timers {
		timers[i].owner = i
		w.schedule(&timers[i], time.Duration(i)*testTick)
	}
	n := 0
	w.advance(1500*testTick, func(int) { n++ })
	if n != 1501 || w.count != 2000-1501 {
		t.Errorf("%d fired, %d are left; want 1501 and 499", n, w.count)
	}
}

func TestTimersMayBeChangedWhileOthersFire(t *testing.T) {
	t.Parallel()
	w := newWheel[int](testTick)
	var timers [4]timer[int]
	for i := range timers {
		timers[i].owner = i
		w.schedule(&timers[i], testTick)
	}
	var order []int
	w.advance(testTick, func(i int) {
		order = append(order, i)
		switch i {
		case 0:
			w.remove(&timers[1])                            // due in the same turn
			w.schedule(&timers[0], slots*testTick+testTick) // into the same slot
		case 2:
			w.schedule(&timers[3], 2*testTick)
		}
	})
	if len(order) != 2 || order[0] != 0 || order[1] != 2 {
		t.Errorf("%v fired; want 0 and 2", order)
	}
	w.advance(2*testTick, func(i int) { order = append(order, i) })
	if len(order) != 3 || order[2] != 3 || !timers[0].scheduled() || w.count != 1 {
		t.Errorf("%v fired, %d left", order, w.count)
	}
}

func TestWheelAgreesWithAListOfTimes(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 2))
	w := newWheel[int](testTick)
	timers := make([]timer[int], 100)
	want := make(map[int]time.Duration)
	for i := range timers {
		timers[i].owner = i
	}
	clock := time.Duration(0)
	for range 20_000 {
		i := rng.IntN(len(timers))
		switch rng.IntN(3) {
		case 0:
			at := clock + time.Duration(rng.Int64N(int64(800*testTick)))
			w.schedule(&timers[i], at)
			want[i] = at
		case 1:
			w.remove(&timers[i])
			delete(want, i)
		default:
			clock += time.Duration(rng.Int64N(int64(20 * testTick)))
			w.advance(clock, func(i int) {
				if at, ok := want[i]; !ok || at > clock {
					t.Fatalf("timer %d for %s fires at %s", i, at, clock)
				}
				delete(want, i)
			})
			for i, at := range want {
				if at+testTick <= clock {
					t.Fatalf("timer %d for %s has not fired at %s", i, at, clock)
				}
			}
		}
		if w.count != len(want) {
			t.Fatalf("%d timers on the wheel; want %d", w.count, len(want))
		}
	}
}

func BenchmarkWheel(b *testing.B) {
	w := newWheel[int](testTick)
	timers := make([]timer[int], 10_000)
	clock := time.Duration(0)
	b.ReportAllocs()
	for i := range b.N {
		w.schedule(&timers[i%len(timers)], clock+time.Duration(i%1000)*testTick)
		if i%64 == 0 {
			clock += testTick
			w.advance(clock, func(int) {})
		}
	}
}

// FuzzSniff checks that the first bytes decide the same thing however they
// arrive, and that they decide within four bytes.
func FuzzSniff(f *testing.F) {
	for _, seed := range []string{"", "V", "VM", "VML1", "VML2", "VML1GET / HTTP/1.1\r\n", "GET / HTTP/1.1\r\n", "\x16\x03\x01", "\r\n", "PRI * HTTP/2.0"} {
		for flags := range uint8(4) {
			f.Add([]byte(seed), flags)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte, flags uint8) {
		withTLS, withFrames := flags&1 != 0, flags&2 != 0
		whole := classify(data, withTLS, withFrames)
		if len(data) >= len(framesPreface) && whole == protocolUnknown {
			t.Fatalf("%q is undecided", data)
		}
		for n := range data {
			part := classify(data[:n], withTLS, withFrames)
			if part != protocolUnknown && part != whole {
				t.Fatalf("%q is %d, but %q is %d", data[:n], part, data, whole)
			}
		}
		if whole == protocolTLS && (!withTLS || data[0] != recordHandshake) {
			t.Fatalf("%q is TLS", data)
		}
		if whole == protocolFrames && (!withFrames || string(data[:4]) != framesPreface) {
			t.Fatalf("%q is frames", data)
		}
	})
}
