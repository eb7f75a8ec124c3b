package window_test

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/voicemill/voicemill/worker/internal/window"
)

// server speaks texts of five to fifteen seconds, all that it has together.
type server struct {
	w        *window.Window
	goodput  func(n int) float64
	now      time.Time
	random   *rand.Rand
	speaking []*text
	eased    bool
}

type text struct {
	mark  window.Mark
	audio float64 // seconds
	left  float64 // of these
}

func newServer(most int, goodput func(n int) float64) *server {
	now := time.Unix(1000, 0)
	return &server{w: window.New(window.Config{Most: most}, now), goodput: goodput, now: now, random: rand.New(rand.NewPCG(1, 2))}
}

// run keeps the server as full as it may be, or with at most so many texts.
func (s *server) run(d time.Duration, most int) {
	for end := s.now.Add(d); s.now.Before(end); {
		all, eased := s.w.Limits()
		if s.eased {
			all = eased
		}
		for len(s.speaking) < min(all, most) {
			audio := 5 + 10*s.random.Float64()
			s.speaking = append(s.speaking, &text{s.w.Begin(s.now, 1), audio, audio})
		}
		next := slices.MinFunc(s.speaking, func(a, b *text) int {
			if a.left < b.left {
				return -1
			}
			return 1
		})
		each := s.goodput(len(s.speaking)) / float64(len(s.speaking))
		step := next.left
		s.now = s.now.Add(time.Duration(step / each * float64(time.Second)))
		for _, x := range s.speaking {
			x.left -= step
		}
		s.speaking = slices.DeleteFunc(s.speaking, func(x *text) bool { return x == next })
		s.w.End(s.now, next.mark, 1, next.audio)
	}
}

// bends gains nothing beyond a number of texts.
func bends(at int) func(n int) float64 {
	return func(n int) float64 { return 2 * float64(min(n, at)) }
}

// usually returns what the limits are most of the time, for neighbours are tried in between.
func (s *server) usually() (all, eased int) {
	var alls, easeds []int
	for range 240 {
		s.run(15*time.Second, 64)
		a, e := s.w.Limits()
		alls, easeds = append(alls, a), append(easeds, e)
	}
	slices.Sort(alls)
	slices.Sort(easeds)
	return alls[len(alls)/2], easeds[len(easeds)/2]
}

// refuse has the server, which gets one text more, refuse that.
func (s *server) refuse() {
	s.w.End(s.now, s.w.Begin(s.now, 1), 1, 0)
	s.w.Full(s.now)
}

// lose has all that is spoken fail.
func (s *server) lose() {
	for _, x := range s.speaking {
		s.w.End(s.now, x.mark, 1, 0)
	}
	s.speaking = nil
}

func TestBothWindowsAreWhereTheCurveBends(t *testing.T) {
	for _, at := range []int{2, 4, 8, 16, 32} {
		s := newServer(64, bends(at))
		s.run(4*time.Hour, 64)
		all, eased := s.usually()
		require.InDelta(t, at, all, float64(at)/2, "bends at %d", at)
		require.LessOrEqual(t, eased, at, "bends at %d", at)
		require.GreaterOrEqual(t, eased, at/2, "bends at %d", at)
	}
}

// What a text is slowed down by others has its price only while somebody waits.
func TestSomebodyWhoWaitsIsWorthANinth(t *testing.T) {
	slowly := func(n int) float64 { // 5 % a doubling
		g := 8.0
		for ; n > 1; n /= 2 {
			g *= 1.05
		}
		return g
	}
	s := newServer(32, slowly)
	s.run(4*time.Hour, 32)
	all, _ := s.w.Limits()
	require.GreaterOrEqual(t, all, 16)
	s.eased = true
	s.w.Ease(window.Eased)
	s.run(4*time.Hour, 32)
	all, eased := s.w.Limits()
	require.GreaterOrEqual(t, all, 16, "which is still there for those who wait")
	require.LessOrEqual(t, eased, 4)
}

func TestAServerThatFallsOverIsLeftInTime(t *testing.T) {
	worse := false
	s := newServer(64, func(n int) float64 {
		if worse && n > 4 {
			return 32 / float64(n)
		}
		return bends(16)(n)
	})
	s.run(2*time.Hour, 64)
	worse = true
	s.run(time.Hour, 64)
	s.run(time.Minute, 64)
	all, _ := s.w.Limits()
	require.LessOrEqual(t, all, 8)
}

// Who has less to do than fits shows nothing of the window.
func TestAServerThatIsNotFullIsMeasuredAtNoPoint(t *testing.T) {
	s := newServer(16, bends(2))
	before, _ := s.w.Limits()
	s.run(4*time.Hour, 5)
	after, _ := s.w.Limits()
	require.Equal(t, before, after)
}

func TestAServerThatRefusesGetsLessAndIsTriedAgainLater(t *testing.T) {
	s := newServer(16, bends(64))
	s.run(time.Hour, 64)
	most, _ := s.w.Limits()
	require.GreaterOrEqual(t, most, 8)
	s.refuse()
	less, eased := s.w.Limits()
	require.LessOrEqual(t, less, (most+1)/2)
	require.LessOrEqual(t, eased, less)
	s.lose()
	refused := s.now
	for s.now.Sub(refused) < 4*time.Minute {
		s.run(10*time.Second, 64)
		now, _ := s.w.Limits()
		require.Less(t, now, 16, "not yet")
	}
	s.run(2*time.Hour, 64)
	again, _ := s.w.Limits()
	require.GreaterOrEqual(t, again, 12)
}

// Who refuses the ninth has said nothing against eight.
func TestAServerThatRefusesTheNinthGetsEight(t *testing.T) {
	s := newServer(16, bends(64))
	s.run(time.Minute, 8)
	s.lose()
	for range 8 {
		s.speaking = append(s.speaking, &text{s.w.Begin(s.now, 1), 10, 10})
	}
	s.refuse()
	refused, most := s.now, 0
	for s.now.Sub(refused) < 4*time.Minute {
		s.run(10*time.Second, 64)
		now, _ := s.w.Limits()
		most = max(most, now)
	}
	require.Equal(t, 8, most)
}

// What points were worth beside a home that is no more is not held against them at the next.
func TestAfterARefusalTheNextHomeIsComparedAnew(t *testing.T) {
	s := newServer(16, bends(64))
	s.run(time.Hour, 64)
	s.lose()
	for range 12 {
		s.speaking = append(s.speaking, &text{s.w.Begin(s.now, 1), 10, 10})
	}
	s.refuse() // six are tried next
	more := 0
	for range 30 { // within the ban
		s.run(10*time.Second, 64)
		if all, _ := s.w.Limits(); all > 6 {
			more++
		}
	}
	require.Greater(t, more, 6, "eight make a third more than six")
}

// A server that refuses a single text, such as a canary, has not too many.
func TestAServerThatRefusesWhoeverComesAloneKeepsItsWindow(t *testing.T) {
	s := newServer(16, bends(64))
	s.run(time.Hour, 64)
	s.lose()
	before, _ := s.w.Limits()
	for range 10 {
		s.now = s.now.Add(30 * time.Second)
		s.refuse()
	}
	after, _ := s.w.Limits()
	require.Equal(t, before, after)
}

// One that refuses all that it gets is halved once, not for each refusal.
func TestAServerThatRefusesEverythingIsHalvedOnce(t *testing.T) {
	s := newServer(16, bends(64))
	s.run(time.Hour, 64)
	s.run(15*time.Second, 64)
	before, _ := s.w.Limits()
	for n := before; n > 1; n /= 2 {
		for len(s.speaking) < n-1 {
			s.speaking = append(s.speaking, &text{s.w.Begin(s.now, 1), 10, 10})
		}
		s.refuse()
		s.lose()
		s.now = s.now.Add(10 * time.Second)
	}
	after, _ := s.w.Limits()
	require.LessOrEqual(t, after, before/2)
	require.Greater(t, after, before/4)
	s.run(time.Hour, 64)
	again, _ := s.w.Limits()
	require.GreaterOrEqual(t, again, 12, "and it is forgotten as after one refusal")
}

// After an hour without a refusal the next one is the first.
func TestRefusalsAreForgotten(t *testing.T) {
	s := newServer(16, bends(64))
	for range 4 {
		s.run(10*time.Minute, 64)
		s.refuse()
	}
	s.run(3*time.Hour, 64)
	s.refuse()
	most := 0
	for range 20 { // minutes; the ban would be an hour
		s.run(time.Minute, 64)
		now, _ := s.w.Limits()
		most = max(most, now)
	}
	require.Equal(t, 16, most)
}

func TestWindowsStayWithinTheirBounds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		most := rapid.IntRange(1, 100).Draw(t, "most")
		peak := rapid.IntRange(1, 100).Draw(t, "peak")
		s := newServer(most, func(n int) float64 { return float64(min(n, peak)) - 0.3*float64(max(0, n-peak))/float64(n) })
		for range rapid.IntRange(1, 20).Draw(t, "steps") {
			switch rapid.IntRange(0, 3).Draw(t, "step") {
			case 0:
				s.refuse()
			case 1:
				s.eased = !s.eased
				mode := window.All
				if s.eased {
					mode = window.Eased
				}
				s.w.Ease(mode)
			default:
				s.run(time.Duration(rapid.IntRange(1, 900).Draw(t, "seconds"))*time.Second, rapid.IntRange(1, 100).Draw(t, "backlog"))
			}
			all, eased := s.w.Limits()
			if eased < 1 || eased > all || all > most {
				t.Fatalf("%d, %d eased, of %d", all, eased, most)
			}
		}
	})
}
