package progress_test

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/voicemill/voicemill/voicemill/internal/progress"
)

func TestMeterDerivesSpeedAndRemainFromTheFirstSnapshot(t *testing.T) {
	t.Parallel()
	start := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
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

func TestMeterOfAFinishedJobHasNothingRemaining(t *testing.T) {
	t.Parallel()
	var m progress.Meter
	m.Add(progress.Snapshot{At: time.Unix(0, 0)})
	if f := m.Add(progress.Snapshot{At: time.Unix(5, 0), Fraction: 1}); f.Remain != 0 {
		t.Errorf("Remain = %v; want 0", f.Remain)
	}
}

func TestBlockFitsItsWidth(t *testing.T) {
	t.Parallel()
	f := progress.Frame{Snapshot: progress.Snapshot{
		Title: strings.Repeat("Über ", 40), State: "running", Fraction: 0.5, SegmentsTotal: 812, SegmentsDone: 400,
		SegmentsReused: 12, SegmentsFailed: 1, ChaptersTotal: 12, ChaptersReady: 5, AudioSeconds: 14400.5,
	}, Speed: 123, Remain: time.Hour}
	for _, width := range []int{40, 80, 200} {
		for _, line := range strings.Split(progress.Block(f, width), "\n") {
			if n := utf8.RuneCountInString(line); n > width {
				t.Errorf("width %d: line of %d columns: %q", width, n, line)
			}
		}
	}
}

func TestClock(t *testing.T) {
	t.Parallel()
	for want, seconds := range map[string]float64{"0:00": 0, "0:09": 9.4, "1:00": 59.6, "1:00:00": 3600, "27:46:40": 100000} {
		if got := progress.Clock(seconds); got != want {
			t.Errorf("Clock(%v) = %q; want %q", seconds, got, want)
		}
	}
}
