package fleet_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/testkit"
	"github.com/voicemill/voicemill/worker/internal/check"
	"github.com/voicemill/voicemill/worker/internal/engine"
	"github.com/voicemill/voicemill/worker/internal/fleet"
)

// sickFor returns a fault that lasts for so long.
func sickFor(from, d time.Duration, err error) func([]string) error {
	begun := time.Now()
	return func([]string) error {
		if at := time.Since(begun); at >= from && at < from+d {
			return err
		}
		return nil
	}
}

// The rule of this package: whatever a pool is sick with, and whenever that begins,
// no text fails and none is charged; when it is well again all are spoken.
func TestAPoolThatIsSickForTenMinutesFailsNothing(t *testing.T) {
	for name, err := range map[string]error{
		"it answers 500": errFails, "it resets": errResets, "it hangs": errHangs, "it refuses connections": errRefuses,
		"it answers 400": errInvalid, "it is full": errFull,
	} {
		for when, from := range map[string]time.Duration{"from the start": 0, "in the middle": 5 * time.Second} {
			for shape, drivers := range map[string]func(fail func([]string) error) []engine.Engine{
				"one address, one text at a time": func(fail func([]string) error) []engine.Engine { return []engine.Engine{&sim{fail: fail}} },
				"three addresses with windows": func(fail func([]string) error) []engine.Engine {
					return []engine.Engine{&sim{fail: fail, window: 8}, &sim{fail: fail, window: 8}, &sim{fail: fail, window: 8}}
				},
				"batches of 16": func(fail func([]string) error) []engine.Engine {
					return []engine.Engine{&sim{fail: fail, window: 32, batch: 16}}
				},
			} {
				t.Run(name+" "+when+", "+shape, func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						all := drivers(sickFor(from, 10*time.Minute, err))
						f := open(t, all...)
						b := newBook(f)
						begun := time.Now()
						ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
						defer cancel()
						b.read(ctx, texts(200), all[0].Info().MaxBatch, 24)
						require.Empty(t, b.failed)
						require.Empty(t, b.charged)
						require.Len(t, b.done, 200)
						require.Less(t, time.Since(begun), 14*time.Minute, "it is found out soon that the pool is well")
						calls, canaries := 0, 0
						for _, d := range all {
							n, c := d.(*sim).counts()
							calls, canaries = calls+n, canaries+c
						}
						require.Less(t, calls, 200+100, "a sick pool is no place to try texts")
						require.Less(t, canaries, 60*len(all), "nor is it asked again and again")
					})
				})
			}
		}
	}
}

func TestOneLineOutlivesASickPool(t *testing.T) {
	for name, err := range map[string]error{"500": errFails, "reset": errResets, "hang": errHangs, "400": errInvalid} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBook(open(t, &sim{fail: sickFor(time.Second, 10*time.Minute, err)}))
				time.Sleep(2 * time.Second)
				b.read(t.Context(), []string{"A line."}, 1, 1)
				require.Empty(t, b.charged)
				require.Len(t, b.done, 1)
			})
		})
	}
}

// A pool says since when and why it waits, and whether somebody has to do something.
func TestASickPoolSaysSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &sim{fail: sickFor(time.Minute, time.Minute, errInvalid)}
		f := open(t, s)
		time.Sleep(time.Second)
		require.False(t, f.State().Waiting)
		require.NoError(t, f.Probe(t.Context()))
		time.Sleep(time.Minute)
		at := time.Now()
		newBook(f).speak(t.Context(), []string{"A text."})
		state := f.State()
		require.True(t, state.Waiting)
		require.Equal(t, fleet.Misconfigured, state.Why)
		require.Equal(t, "sim-1: status 400: no such model", state.Reason)
		require.WithinDuration(t, at, state.Since, time.Second)
		require.Equal(t, job.Unavailable, job.KindOf(f.Probe(t.Context())))
		time.Sleep(2 * time.Minute)
		require.False(t, f.State().Waiting, "a canary that is spoken opens it again")
		require.Equal(t, 1, f.State().Well)
	})
}

// What one text does wrong it pays itself, and only if the engine speaks otherwise.
func TestWhatIsATextsOwnFaultIsCharged(t *testing.T) {
	for name, c := range map[string]struct {
		bad     func(s *sim)
		charged int
		says    string
		most    int // calls
	}{
		"refused": {func(s *sim) {
			s.each = only("bad", &job.Error{Op: "sim", Kind: job.Invalid, Public: "refused"})
		}, 1, "refused", 2},
		"silent": {func(s *sim) { s.mute = func(r engine.Request) bool { return r.Text == "bad" } }, 3, "The audio was not usable: it is silent.", 6},
		"500":    {func(s *sim) { s.each = only("bad", errFails) }, 3, "status 500", 6},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &sim{}
				c.bad(s)
				b := newBook(open(t, s))
				b.read(t.Context(), []string{"bad"}, 1, 1)
				require.Equal(t, map[string]int{"bad": c.charged}, b.charged)
				require.Equal(t, c.says, job.PublicOf(b.failed["bad"], ""))
				calls, _ := s.counts()
				require.LessOrEqual(t, calls, c.most)
				b.read(t.Context(), texts(20), 1, 2)
				require.Len(t, b.done, 20, "the pool is as well as before")
				require.Len(t, b.charged, 1)
			})
		})
	}
}

// An engine that was sick for a text may be well when it is asked.
func TestAnEngineThatIsWellWhenItIsAskedMayHaveBeenSick(t *testing.T) {
	for name, err := range map[string]error{"500": errFails, "reset": errResets, "400": errInvalid} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				failed := map[string]bool{}
				b := newBook(open(t, &sim{each: func(r engine.Request) error {
					if r.ID == fleet.CanaryID || failed[r.Text] {
						return nil
					}
					failed[r.Text] = true
					return err
				}}))
				b.read(t.Context(), texts(40), 1, 1)
				require.Empty(t, b.charged)
				require.Len(t, b.done, 40)
			})
		})
	}
}

func only(text string, err error) func(engine.Request) error {
	return func(r engine.Request) error {
		if r.Text == text {
			return err
		}
		return nil
	}
}

// An engine that is silent for everybody is sick, one that is silent for a text is not.
func TestAnEngineThatIsSilentForAllIsSick(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begun := time.Now()
		s := &sim{mute: func(engine.Request) bool {
			at := time.Since(begun)
			return at > 2*time.Second && at < 10*time.Minute
		}}
		b := newBook(open(t, s))
		b.read(t.Context(), texts(100), 1, 2)
		require.Empty(t, b.charged)
		require.Len(t, b.done, 100)
	})
}

func TestOnePoisonInSixteenCostsNineCallsAndNobodyElse(t *testing.T) {
	for at := range 16 {
		synctest.Test(t, func(t *testing.T) {
			s := &sim{batch: 16, window: 16, fail: func(texts []string) error {
				if slices.Contains(texts, "poison") {
					return errFails
				}
				return nil
			}}
			b := newBook(open(t, s))
			b.attempts = 1
			all := texts(16)
			all[at] = "poison"
			time.Sleep(time.Second)
			_, before := s.counts()
			b.speak(t.Context(), all)
			require.Len(t, b.done, 15)
			require.Equal(t, map[string]int{"poison": 1}, b.charged)
			calls, canaries := s.counts()
			require.LessOrEqual(t, calls+canaries-before, 9)
		})
	}
}

// mortal is a backend that dies of a text and takes a while to come back.
type mortal struct {
	sim
	down   time.Duration
	until  time.Time
	deaths int
}

func newMortal(window, batch int, down time.Duration) *mortal {
	m := &mortal{sim: sim{window: window, batch: batch}, down: down}
	m.fail = func(texts []string) error {
		m.mu.Lock()
		defer m.mu.Unlock()
		if time.Now().Before(m.until) {
			return errRefuses
		}
		return nil
	}
	return m
}

func (m *mortal) Synthesize(ctx context.Context, batch []engine.Request) ([]engine.Result, error) {
	m.mu.Lock()
	dead := time.Now().Before(m.until)
	deaths := m.deaths
	m.mu.Unlock()
	for _, r := range batch {
		if r.Text == "poison" && !dead {
			m.begin(batch)
			_ = sleep(ctx, 50*time.Millisecond)
			m.mu.Lock()
			m.deaths++
			m.inFlight -= len(batch)
			m.until = time.Now().Add(m.down)
			m.mu.Unlock()
			return m.all(batch, errResets), nil
		}
	}
	results, err := m.sim.Synthesize(ctx, batch)
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.deaths > deaths { // it died with these in flight
		return m.all(batch, errResets), nil
	}
	return results, err
}

// A text that kills its server does so at most four times: once in company, thrice alone.
func TestATextThatKillsItsServerFailsAlone(t *testing.T) {
	for name, c := range map[string]struct{ batch, calls int }{"one at a time": {1, 16}, "in batches": {16, 1}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newMortal(16, c.batch, 80*time.Second)
				b := newBook(open(t, m))
				all := texts(200)
				all[40] = "poison"
				b.read(t.Context(), all, c.batch, c.calls)
				require.Len(t, b.done, 199)
				require.Len(t, b.failed, 1)
				require.ErrorIs(t, b.failed["poison"], engine.ErrPoison)
				require.Equal(t, map[string]int{"poison": 1}, b.charged)
				require.LessOrEqual(t, m.deaths, 4)
			})
		})
	}
}

// Of a fleet one address is put at risk with a suspect, always the same.
func TestASuspectEndsNoMoreThanOneOfSeveralServers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := []*mortal{newMortal(4, 1, 30*time.Second), newMortal(4, 1, 30*time.Second), newMortal(4, 1, 30*time.Second)}
		b := newBook(open(t, all[0], all[1], all[2]))
		book := texts(300)
		book[100] = "poison"
		b.read(t.Context(), book, 1, 12)
		require.Len(t, b.done, 299)
		require.Equal(t, map[string]int{"poison": 1}, b.charged)
		require.LessOrEqual(t, all[0].deaths+all[1].deaths+all[2].deaths, 4)
	})
}

func TestWhatAnAddressAsksForIsKeptWhateverItSaysToOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var full bool
		s := &sim{window: 8, each: func(r engine.Request) error {
			if r.Text == "too much" && !full {
				full = true
				return &job.Error{Op: "sim", Kind: job.Overloaded, Err: &engine.BusyError{After: 4 * time.Second}}
			}
			return nil
		}}
		f := open(t, s)
		b := newBook(f)
		b.read(t.Context(), texts(20), 1, 4) // so that it has room
		var asked time.Time
		done := make(chan struct{})
		go func() {
			defer close(done)
			b.read(t.Context(), []string{"A text that takes longer than the other one, and longer still."}, 1, 1)
		}()
		synctest.Wait()
		asked = time.Now()
		b.read(t.Context(), []string{"too much"}, 1, 1)
		<-done
		require.GreaterOrEqual(t, time.Since(asked), 4*time.Second)
		require.Empty(t, b.charged)
		require.Zero(t, b.back, "that is waited for in hand")
	})
}

func TestASickAddressCostsNothingWhileAnotherIsWell(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		good, bad := &sim{window: 4}, &sim{window: 4, fail: sickFor(time.Second, time.Hour, errFails)}
		b := newBook(open(t, good, bad))
		b.read(t.Context(), texts(400), 1, 8)
		require.Empty(t, b.charged)
		require.Zero(t, b.back)
		require.Len(t, b.done, 400)
	})
}

func TestAVoiceThatTheEngineRefusesChargesNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &sim{each: func(r engine.Request) error {
			if r.Voice == "w" {
				return errInvalid
			}
			return nil
		}}
		f := open(t, s)
		var got fleet.Answer
		time.Sleep(time.Second)
		f.Speak(t.Context(), []engine.Request{{ID: "x", Text: "A text.", Voice: "w", Seconds: 1}}, func(_ int, a fleet.Answer) { got = a })
		require.ErrorIs(t, got.Err, fleet.ErrVoice)
		require.Equal(t, job.Unavailable, job.KindOf(got.Err))
		require.False(t, f.State().Waiting, "others speak on")
	})
}

// What was spoken before a call's end stands.
func TestAHangCostsNoNeighbour(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &sim{window: 4}
		s.fail = func(texts []string) error {
			if texts[0] == "bad" {
				return errHangs
			}
			return nil
		}
		b := newBook(open(t, s))
		begun := time.Now()
		var first time.Duration
		time.Sleep(time.Second)
		b.fleet.Speak(t.Context(), []engine.Request{{Text: "bad", Seconds: 1}, {Text: "good", Seconds: 1}}, func(i int, a fleet.Answer) {
			if i == 1 {
				require.NoError(t, a.Err)
				first = time.Since(begun)
			} else {
				require.Equal(t, job.Engine, job.KindOf(a.Err))
			}
		})
		require.Less(t, first, 5*time.Second)
	})
}

func TestWhoLeavesLeavesAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		left := errors.New("left")
		f := open(t, &sim{fail: sickFor(time.Second, time.Hour, errHangs)})
		time.Sleep(2 * time.Second)
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Second, func() { cancel(left) })
		begun := time.Now()
		f.Speak(ctx, []engine.Request{{Text: "bad", Seconds: 1}}, func(_ int, a fleet.Answer) {
			require.ErrorIs(t, a.Err, left)
			require.Equal(t, job.Unavailable, job.KindOf(a.Err))
		})
		require.Equal(t, time.Second, time.Since(begun))
	})
}

func TestAFleetThatCannotWorkIsNotMade(t *testing.T) {
	good := fleet.Config{Pool: "p", Check: check.Default(), CallMin: time.Second, CallFactor: 1, Log: testkit.Log(t)}
	for says, change := range map[string]func(c *fleet.Config){
		"call_min":    func(c *fleet.Config) { c.CallMin = 0 },
		"window -1":   func(c *fleet.Config) { c.Window = -1 },
		"sample rate": func(c *fleet.Config) { c.Rate = 23999 }, // nothing makes that of the drivers' rate
	} {
		cfg := good
		change(&cfg)
		_, err := fleet.New(cfg, &sim{})
		require.ErrorContains(t, err, says)
	}
	_, err := fleet.New(good)
	require.ErrorContains(t, err, "no engines")
}
