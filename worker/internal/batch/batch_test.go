package batch_test

import (
	"math"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/worker/internal/batch"
)

func at(ms int) time.Time { return time.UnixMilli(1_000_000 + int64(ms)) }

func bulk(seconds float64, ms int) batch.Item {
	return batch.Item{Class: job.Bulk, Seconds: seconds, Since: at(ms)}
}

func urgent(seconds float64, ms int) batch.Item {
	return batch.Item{Class: job.Interactive, Seconds: seconds, Since: at(ms)}
}

func alone(it batch.Item) batch.Item { it.Solo = true; return it }

func TestDecide(t *testing.T) {
	t.Parallel()
	lim := batch.Limits{Items: 3, Seconds: 30, Wait: 50 * time.Millisecond}
	busy := batch.State{Free: 1}
	idle := batch.State{Free: 1, Idle: true}
	tests := map[string]struct {
		waiting []batch.Item
		now     int
		state   batch.State
		want    batch.Decision
	}{
		"nothing waits": {state: idle},
		"no call may start": {
			waiting: []batch.Item{bulk(5, 0)}, now: 1000, state: batch.State{},
		},
		"an idle engine is fed at once": {
			waiting: []batch.Item{bulk(5, 0)}, state: idle, want: batch.Decision{Take: []int{0}},
		},
		"a busy engine lets a part of a call wait": {
			waiting: []batch.Item{bulk(5, 0), bulk(5, 10)}, now: 20, state: busy,
			want: batch.Decision{Wait: 30 * time.Millisecond},
		},
		"the oldest has waited long enough": {
			waiting: []batch.Item{bulk(5, 10), bulk(5, 0)}, now: 50, state: busy,
			want: batch.Decision{Take: []int{1, 0}},
		},
		"as many as a call takes": {
			waiting: []batch.Item{bulk(5, 0), bulk(5, 1), bulk(5, 2)}, now: 3, state: busy,
			want: batch.Decision{Take: []int{0, 1, 2}},
		},
		"as many seconds as a call takes": {
			waiting: []batch.Item{bulk(16, 0), bulk(16, 1)}, now: 2, state: busy,
			want: batch.Decision{Take: []int{0}},
		},
		"longer than a call, alone": {
			waiting: []batch.Item{bulk(40, 0), bulk(1, 1)}, now: 2, state: busy,
			want: batch.Decision{Take: []int{0}},
		},
		"nearest in length to the oldest": {
			waiting: []batch.Item{bulk(10, 0), bulk(2, 1), bulk(9, 2), bulk(3, 3), bulk(10.5, 4)}, now: 5, state: busy,
			want: batch.Decision{Take: []int{0, 4, 2}},
		},
		"interactive leads however old bulk is": {
			waiting: []batch.Item{bulk(5, 0), urgent(4, 90), bulk(4, 1)}, now: 90, state: idle,
			want: batch.Decision{Take: []int{1, 2}},
		},
		"no bulk while an interactive item is left": {
			waiting: []batch.Item{urgent(20, 0), urgent(20, 1), bulk(1, 2)}, now: 3, state: idle,
			want: batch.Decision{Take: []int{0}},
		},
		"bulk leads when it is its turn": {
			waiting: []batch.Item{urgent(5, 0), bulk(5, 1)}, now: 2, state: batch.State{Free: 1, Idle: true, BulkTurn: true},
			want: batch.Decision{Take: []int{1, 0}},
		},
		"a turn without bulk is no turn": {
			waiting: []batch.Item{urgent(5, 0)}, state: batch.State{Free: 1, Idle: true, BulkTurn: true},
			want: batch.Decision{Take: []int{0}},
		},
		"a dangerous item goes alone": {
			waiting: []batch.Item{alone(bulk(5, 0)), bulk(5, 1)}, now: 2, state: idle,
			want: batch.Decision{Take: []int{0}},
		},
		"nobody joins a dangerous item": {
			waiting: []batch.Item{bulk(5, 0), alone(bulk(5, 1)), bulk(5, 2)}, now: 3, state: idle,
			want: batch.Decision{Take: []int{0, 2}},
		},
		"bulk leaves spared calls unused": {
			waiting: []batch.Item{bulk(5, 0)}, now: 100, state: batch.State{Free: 2, Spared: 2},
		},
		"bulk takes a call that is not spared": {
			waiting: []batch.Item{bulk(5, 0)}, now: 100, state: batch.State{Free: 3, Spared: 2},
			want: batch.Decision{Take: []int{0}},
		},
		"interactive takes a spared call": {
			waiting: []batch.Item{urgent(5, 0)}, now: 100, state: batch.State{Free: 1, Spared: 2},
			want: batch.Decision{Take: []int{0}},
		},
		"so does bulk when it is its turn": {
			waiting: []batch.Item{urgent(5, 0), bulk(5, 1)}, now: 100, state: batch.State{Free: 1, Spared: 2, BulkTurn: true},
			want: batch.Decision{Take: []int{1, 0}},
		},
		"the end of a backlog is divided": {
			waiting: []batch.Item{bulk(5, 0), bulk(4, 1), bulk(5, 2), bulk(4, 3)}, state: batch.State{Free: 1, Ends: true, Calls: 2, Running: 2},
			want: batch.Decision{Take: []int{0, 2}},
		},
		"what runs counts": {
			waiting: []batch.Item{bulk(5, 0), bulk(4, 1), bulk(5, 2), bulk(4, 3)}, state: batch.State{Free: 1, Ends: true, Calls: 2, Running: 12},
			want: batch.Decision{Take: []int{0, 2, 1}},
		},
		"the longest goes first at the end": {
			waiting: []batch.Item{bulk(2, 0), bulk(9, 1), bulk(3, 2)}, state: batch.State{Free: 1, Ends: true, Calls: 2},
			want: batch.Decision{Take: []int{1}},
		},
		"but nobody waits for ever": {
			waiting: []batch.Item{bulk(2, 0), bulk(9, 1), bulk(3, 2)}, now: 31_000, state: batch.State{Free: 1, Ends: true, Calls: 2},
			want: batch.Decision{Take: []int{0, 2}},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := batch.Decide(tt.waiting, at(tt.now), tt.state, lim)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("Decide (-want +got):\n%s", diff)
			}
		})
	}
}

var items = rapid.SliceOfN(rapid.Custom(func(t *rapid.T) batch.Item {
	return batch.Item{
		Class:   rapid.SampledFrom([]job.Class{job.Interactive, job.Bulk}).Draw(t, "class"),
		Seconds: rapid.Float64Range(0.1, 25).Draw(t, "seconds"),
		Since:   at(rapid.IntRange(0, 500).Draw(t, "since")),
		Solo:    rapid.IntRange(0, 9).Draw(t, "solo") == 0,
	}
}), 0, 40)

func drawLimits(t *rapid.T) batch.Limits {
	return batch.Limits{
		Items:   rapid.IntRange(1, 16).Draw(t, "items"),
		Seconds: rapid.Float64Range(1, 120).Draw(t, "cap"),
		Wait:    time.Duration(rapid.IntRange(0, 100).Draw(t, "wait")) * time.Millisecond,
	}
}

func drawState(t *rapid.T) batch.State {
	return batch.State{
		Free:     rapid.IntRange(0, 2).Draw(t, "free"),
		Spared:   rapid.IntRange(0, 2).Draw(t, "spared"),
		Ends:     rapid.Bool().Draw(t, "ends"),
		Calls:    rapid.IntRange(0, 3).Draw(t, "calls"),
		Running:  rapid.Float64Range(0, 50).Draw(t, "running"),
		Idle:     rapid.Bool().Draw(t, "idle"),
		BulkTurn: rapid.Bool().Draw(t, "turn"),
	}
}

func TestEveryCallKeepsTheRules(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		waiting, lim, st := items.Draw(t, "waiting"), drawLimits(t), drawState(t)
		now := at(rapid.IntRange(500, 700).Draw(t, "now"))
		before := slices.Clone(waiting)
		d := batch.Decide(waiting, now, st, lim)

		if diff := cmp.Diff(before, waiting); diff != "" {
			t.Fatalf("Decide changed its input:\n%s", diff)
		}
		if len(d.Take) > 0 && st.Free == 0 {
			t.Fatalf("took %v without a free slot", d.Take)
		}
		if len(d.Take) == 0 {
			if st.Free > st.Spared && st.Idle && len(waiting) > 0 {
				t.Fatal("an idle engine was left idle")
			}
			if d.Wait < 0 || d.Wait > lim.Wait {
				t.Fatalf("Wait = %s; want 0 to %s", d.Wait, lim.Wait)
			}
			return
		}
		checkCall(t, waiting, d.Take, st, lim)
	})
}

func checkCall(t *rapid.T, waiting []batch.Item, take []int, st batch.State, lim batch.Limits) {
	var seconds float64
	var bulkTaken, solo bool
	taken := map[int]bool{}
	for _, i := range take {
		if i < 0 || i >= len(waiting) || taken[i] {
			t.Fatalf("Take = %v; want different indexes below %d", take, len(waiting))
		}
		taken[i] = true
		seconds += waiting[i].Seconds
		bulkTaken = bulkTaken || waiting[i].Class == job.Bulk
		solo = solo || waiting[i].Solo
	}
	if len(take) > lim.Items {
		t.Fatalf("%d items; the limit is %d", len(take), lim.Items)
	}
	if seconds > lim.Seconds && len(take) > 1 {
		t.Fatalf("%g seconds in %d items; the limit is %g", seconds, len(take), lim.Seconds)
	}
	if solo && len(take) > 1 {
		t.Fatal("a solo item shares its call")
	}
	for i, it := range waiting {
		if !taken[i] && it.Class == job.Interactive && bulkTaken && !st.BulkTurn {
			t.Fatalf("item %d is interactive and was left behind bulk: %v", i, take)
		}
	}
}

func TestNothingIsLostAndNothingGoesTwice(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		waiting, lim := items.Draw(t, "waiting"), drawLimits(t)
		want := sum(waiting)
		var got []batch.Item
		for range slices.Clone(waiting) {
			if len(waiting) == 0 {
				break
			}
			turn := rapid.Bool().Draw(t, "turn")
			d := batch.Decide(waiting, at(700), batch.State{Free: 1, BulkTurn: turn}, lim)
			if len(d.Take) == 0 {
				t.Fatalf("%d items wait longer than %s and none goes", len(waiting), lim.Wait)
			}
			slices.Sort(d.Take)
			for _, i := range slices.Backward(d.Take) {
				got = append(got, waiting[i])
				waiting = slices.Delete(waiting, i, i+1)
			}
		}
		if len(waiting) > 0 || math.Abs(sum(got)-want) > 1e-6 {
			t.Fatalf("%d items left, %g seconds gone; want none and %g", len(waiting), sum(got), want)
		}
	})
}

func sum(items []batch.Item) (seconds float64) {
	for _, it := range items {
		seconds += it.Seconds
	}
	return seconds
}

func BenchmarkDecide(b *testing.B) {
	waiting := make([]batch.Item, 64)
	for i := range waiting {
		waiting[i] = bulk(float64(i%18)+1, i)
	}
	lim := batch.Limits{Items: 16, Seconds: 200, Wait: 50 * time.Millisecond}
	for b.Loop() {
		batch.Decide(waiting, at(100), batch.State{Free: 1, Idle: true}, lim)
	}
}
