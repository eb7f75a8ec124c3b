package progress_test

import (
	"testing"
	"time"

	"github.com/voicemill/voicemill/voicemill/internal/progress"
)

var start = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func TestMeterDerivesSpeedAndRemainFromTheFirstSnapshot(t *testing.T) {
	t.Parallel()
	var m progress.Meter
	if f := m.Add(progress.Snapshot{At: start, AudioSeconds: 100, Fraction: 0.1}); f.Speed != 0 || f.Remain != 0 {
		t.Errorf("first frame = speed %v, remain %v; want both unknown", f.Speed, f.Remain)
	}
	f := m.Add(progress.Snapshot{At: start.Add(10 * time.Second), AudioSeconds: 400, Fraction: 0.4})
	if f.Speed != 30 {
		t.Errorf("Speed = %v; want 30", f.Speed)
	}
	if got := f.Remain.Round(time.Second); got != 20*time.Second {
		t.Errorf("Remain = %v; want 20s", got)
	}
}

func TestMeterKnowsTheSpeedAtOnceOfAJobThatRuns(t *testing.T) {
	t.Parallel()
	var m progress.Meter
	f := m.Add(progress.Snapshot{At: start, Elapsed: 50 * time.Second, AudioSeconds: 1000, Fraction: 0.5, ETA: start.Add(time.Minute)})
	if f.Speed != 20 || f.Remain != time.Minute {
		t.Errorf("first frame = speed %v, remain %v; want 20 and the server's estimate", f.Speed, f.Remain)
	}
}

func TestMeterFollowsAChangeOfSpeed(t *testing.T) {
	t.Parallel()
	var m progress.Meter
	var f progress.Frame
	audio := 0.0
	for i := range 7200 { // two hours, a second each, then ten times as fast
		gain := 5.0
		if i > 3600 {
			gain = 50
		}
		audio += gain
		f = m.Add(progress.Snapshot{At: start.Add(time.Duration(i) * time.Second), AudioSeconds: audio})
	}
	if f.Speed < 49.9 || f.Speed > 50.1 {
		t.Errorf("Speed = %v; want 50, that of the last minutes", f.Speed)
	}
}

func TestMeterOfAFinishedJobHasNothingRemaining(t *testing.T) {
	t.Parallel()
	var m progress.Meter
	m.Add(progress.Snapshot{At: time.Unix(0, 0)})
	f := m.Add(progress.Snapshot{At: time.Unix(5, 0), Fraction: 1, AudioSeconds: 300, Elapsed: time.Minute, Final: true})
	if f.Remain != 0 || f.Speed != 5 {
		t.Errorf("frame = speed %v, remain %v; want the speed of the whole job and nothing left", f.Speed, f.Remain)
	}
}
