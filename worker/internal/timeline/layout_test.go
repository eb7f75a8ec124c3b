package timeline_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/worker/internal/timeline"
)

type piece struct {
	samples int64 // 0: failed
	after   string
}

// place returns silence and start of each piece that has audio, then the end.
func place(rate int, pauses job.Pauses, pieces []piece) (out [][2]int64) {
	l := timeline.NewLayout(rate, pauses)
	for _, p := range pieces {
		if p.samples == 0 {
			l.Pass(p.after)
			continue
		}
		silence, start := l.Place(p.samples, p.after)
		out = append(out, [2]int64{silence, start})
	}
	silence, total := l.End()
	return append(out, [2]int64{silence, total})
}

func TestLayout(t *testing.T) {
	t.Parallel()
	pauses := job.Pauses{Sentence: 0.35, Paragraph: 0.7, Chapter: 1.5}
	tests := map[string]struct {
		pieces []piece
		want   [][2]int64
	}{
		"nothing": {want: [][2]int64{{1500, 1500}}},
		"one": {
			pieces: []piece{{100, "chapter"}},
			want:   [][2]int64{{0, 0}, {1500, 1600}},
		},
		"every break": {
			pieces: []piece{{100, "none"}, {100, "sentence"}, {100, "paragraph"}, {100, "chapter"}},
			want:   [][2]int64{{0, 0}, {0, 100}, {350, 550}, {700, 1350}, {1500, 2950}},
		},
		"a failed segment leaves the longer break": {
			pieces: []piece{{100, "sentence"}, {0, "paragraph"}, {0, "none"}, {100, "chapter"}},
			want:   [][2]int64{{0, 0}, {700, 800}, {1500, 2400}},
		},
		"failed segments at both ends leave nothing": {
			pieces: []piece{{0, "paragraph"}, {100, "sentence"}, {0, "chapter"}},
			want:   [][2]int64{{0, 0}, {1500, 1600}},
		},
		"a chapter pause in the middle, as the plan says": {
			pieces: []piece{{100, "chapter"}, {100, "none"}},
			want:   [][2]int64{{0, 0}, {1500, 1600}, {1500, 3200}},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(tt.want, place(1000, pauses, tt.pieces)); diff != "" {
				t.Errorf("layout (-want +got):\n%s", diff)
			}
		})
	}
}

func TestAFramedLayout(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ chapter, want float64 }{
		"as it is": {2, 2}, "too short": {0, 1.5}, "too long": {10, 4.5},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := timeline.NewLayout(1000, job.Pauses{Sentence: .35, Chapter: tt.chapter}).Frame(.75, 1.5, 4.5)
			silence, start := l.Place(100, "sentence")
			if silence != 750 || start != 750 {
				t.Errorf("the first begins at %d after %d of silence; want 750", start, silence)
			}
			if silence, start = l.Place(100, "chapter"); silence != 350 || start != 1200 {
				t.Errorf("the second begins at %d after %d of silence; want 1200 after 350", start, silence)
			}
			if silence, total := l.End(); float64(silence) != 1000*tt.want || total != 1300+silence {
				t.Errorf("%d of silence, %d in all; want %g s of silence", silence, total, tt.want)
			}
		})
	}
}

func TestALayoutHasNoHoles(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		pauses := job.Pauses{
			Sentence:  rapid.Float64Range(0, 10).Draw(t, "sentence"),
			Paragraph: rapid.Float64Range(0, 10).Draw(t, "paragraph"),
			Chapter:   rapid.Float64Range(0, 10).Draw(t, "chapter"),
		}
		pieces := rapid.SliceOf(rapid.Custom(func(t *rapid.T) piece {
			return piece{
				samples: rapid.Int64Range(0, 500_000).Draw(t, "samples"),
				after:   rapid.SampledFrom([]string{"none", "sentence", "paragraph", "chapter"}).Draw(t, "after"),
			}
		})).Draw(t, "pieces")
		places := place(rapid.SampledFrom([]int{22050, 24000, 44100}).Draw(t, "rate"), pauses, pieces)
		end, i := int64(0), 0
		for _, p := range pieces {
			if p.samples == 0 {
				continue
			}
			silence, start := places[i][0], places[i][1]
			if silence < 0 || start != end+silence {
				t.Fatalf("segment %d begins at %d after %d of silence; the one before ends at %d", i, start, silence, end)
			}
			end = start + p.samples
			i++
		}
		if last := places[len(places)-1]; last[1] != end+last[0] {
			t.Fatalf("the file has %d samples; want %d and %d of silence", last[1], end, last[0])
		}
	})
}
