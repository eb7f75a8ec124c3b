package progress_test

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/voicemill/voicemill/voicemill/internal/progress"
)

func TestBlockFitsItsWidth(t *testing.T) {
	t.Parallel()
	for name, title := range map[string]string{
		"letters": strings.Repeat("Über ", 40), "wide characters": strings.Repeat("水先案内人", 20), "none": "", "marks": strings.Repeat("e\u0301", 100),
	} {
		f := progress.Frame{Snapshot: progress.Snapshot{
			Title: title, State: "running", Fraction: 0.5, SegmentsTotal: 812, SegmentsDone: 400,
			SegmentsReused: 12, SegmentsFailed: 1, ChaptersTotal: 12, ChaptersReady: 5, AudioSeconds: 14400.5,
		}, Speed: 123, Remain: time.Hour}
		for width := 20; width < 200; width++ {
			for line := range strings.SplitSeq(progress.Block(f, width), "\n") {
				if n := progress.Columns(line); n > width {
					t.Errorf("%s: width %d: line of %d columns: %q", name, width, n, line)
				}
			}
		}
	}
}

func TestBlockKeepsWhatMattersMostOnANarrowTerminal(t *testing.T) {
	t.Parallel()
	f := progress.Frame{Snapshot: progress.Snapshot{
		Title: "A title that is much too long", State: "running", SegmentsTotal: 812, SegmentsDone: 400, AudioSeconds: 3600,
	}, Remain: time.Minute}
	got := progress.Block(f, 30)
	for _, want := range []string{"…  running", "ETA 1:00"} {
		if !strings.Contains(got, want) {
			t.Errorf("Block = %q; want %q in it", got, want)
		}
	}
}

func TestBarIsFullOnlyAtTheEnd(t *testing.T) {
	t.Parallel()
	for want, fraction := range map[string]float64{
		"[░░░░░░░░░░]   0.0%": 0, "[█████░░░░░]  50.0%": 0.5, "[█████████░]  99.9%": 0.9999, "[██████████] 100.0%": 1,
	} {
		if got := progress.Bar(fraction, 19); got != want {
			t.Errorf("Bar(%v) = %q; want %q", fraction, got, want)
		}
	}
	for _, odd := range []float64{-1, 2, math.NaN(), math.Inf(1)} {
		if n := progress.Columns(progress.Bar(odd, 40)); n != 40 {
			t.Errorf("Bar(%v) has %d columns; want 40", odd, n)
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

func FuzzClipAndClean(f *testing.F) {
	for _, s := range []string{"", "plain", "\x1b[2J\x07", "a\u202eb\u200f", "水先案内人", "e\u0301\u0301", "\xff\xfe", "👩‍🚀 out"} {
		f.Add(s, 5)
	}
	f.Fuzz(func(t *testing.T, s string, width int) {
		width = width&0xff + 1
		clean := progress.Clean(s)
		if strings.ContainsAny(clean, "\x1b\r\n\x07\u202e\u009b") {
			t.Errorf("Clean(%q) = %q; want no control characters", s, clean)
		}
		if again := progress.Clean(clean); again != clean {
			t.Errorf("Clean(%q) = %q; want it unchanged", clean, again)
		}
		if got := progress.Clip(clean, width); progress.Columns(got) > width {
			t.Errorf("Clip(%q, %d) = %q of %d columns", clean, width, got, progress.Columns(got))
		}
	})
}
