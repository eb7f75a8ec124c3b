package job_test

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/voicemill/voicemill/job"
)

// arrow is one line "from --> to" of a drawing. The dot [*] is written as "".
type arrow struct{ from, to string }

func TestDrawingOfJobStatesIsNext(t *testing.T) {
	t.Parallel()
	drawn := drawings(t)[0]
	want := []arrow{{from: "", to: string(job.StateAccepted)}}
	for _, from := range job.States() {
		for _, to := range from.Next() {
			want = append(want, arrow{from: string(from), to: string(to)})
		}
		if from.Final() {
			want = append(want, arrow{from: string(from), to: ""})
		}
	}
	for _, a := range want {
		if !slices.Contains(drawn, a) {
			t.Errorf("docs/states.md does not draw %q --> %q", a.from, a.to)
		}
	}
	for _, a := range drawn {
		if !slices.Contains(want, a) {
			t.Errorf("docs/states.md draws %q --> %q, which State.Next does not allow", a.from, a.to)
		}
	}
}

func TestDrawingsNameTheStatesOfSegmentAndChapter(t *testing.T) {
	t.Parallel()
	drawn := drawings(t)
	for name, c := range map[string]struct {
		drawing []arrow
		want    []string
	}{
		"segment": {drawn[1], []string{
			string(job.SegmentPending), string(job.SegmentReleased), string(job.SegmentDone),
			string(job.SegmentReused), string(job.SegmentFailed), string(job.SegmentCancelled),
		}},
		"chapter": {drawn[2], []string{
			string(job.ChapterPending), string(job.ChapterAssembling), string(job.ChapterReady), string(job.ChapterFailed),
		}},
	} {
		var got []string
		for _, a := range c.drawing {
			got = append(got, a.from, a.to)
		}
		got = slices.DeleteFunc(got, func(s string) bool { return s == "" })
		slices.Sort(got)
		got = slices.Compact(got)
		slices.Sort(c.want)
		if !slices.Equal(got, c.want) {
			t.Errorf("the %s drawing has states %q; want %q", name, got, c.want)
		}
	}
}

// drawings reads the three state diagrams of docs/states.md: job, segment,
// chapter. A line that is not an arrow, or an arrow drawn twice, fails the test.
func drawings(t *testing.T) [][]arrow {
	t.Helper()
	text, err := os.ReadFile("../docs/states.md")
	if err != nil {
		t.Fatal(err)
	}
	var all [][]arrow
	for _, part := range strings.Split(string(text), "```mermaid\n")[1:] {
		block, _, closed := strings.Cut(part, "```")
		lines := strings.Split(strings.TrimSpace(block), "\n")
		if !closed || lines[0] != "stateDiagram-v2" {
			t.Fatalf("drawing %d is not a closed stateDiagram-v2 block", len(all)+1)
		}
		var drawing []arrow
		for _, line := range lines[1:] {
			from, to, ok := strings.Cut(strings.TrimSpace(line), " --> ")
			a := arrow{from: strings.TrimPrefix(from, "[*]"), to: strings.TrimPrefix(to, "[*]")}
			if !ok || slices.Contains(drawing, a) {
				t.Fatalf("drawing %d: %q is not an arrow, or is drawn twice", len(all)+1, line)
			}
			drawing = append(drawing, a)
		}
		all = append(all, drawing)
	}
	if len(all) != 3 {
		t.Fatalf("docs/states.md has %d drawings; want job, segment and chapter", len(all))
	}
	return all
}
