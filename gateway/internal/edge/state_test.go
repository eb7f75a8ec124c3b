package edge

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestThePackageCommentDrawsTheStates compares the table of the package comment with
// the one that every connection keeps to.
func TestThePackageCommentDrawsTheStates(t *testing.T) {
	t.Parallel()
	doc, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	drawn := map[string][]string{}
	for _, m := range regexp.MustCompile(`(?m)^//\t(\w+) +─▶ ([\w, ]+?) *│`).FindAllStringSubmatch(string(doc), -1) {
		drawn[m[1]] = strings.Split(m[2], ", ")
	}
	for p := range phaseClosed {
		var next []string
		for _, n := range phases[p].next {
			next = append(next, n.String())
		}
		if !slices.Equal(drawn[p.String()], next) {
			t.Errorf("%s is drawn with %q; it becomes %q", p, drawn[p.String()], next)
		}
		if !slices.Contains(phases[p].next, phaseClosed) {
			t.Errorf("%s cannot be closed", p)
		}
	}
	if len(drawn) != int(phaseClosed) {
		t.Errorf("%d states are drawn", len(drawn))
	}
}

func TestNothingFollowsTheEnd(t *testing.T) {
	t.Parallel()
	for p := phaseAccepted; p <= phaseClosed; p++ {
		func() {
			c := &conn{phase: phaseClosed}
			defer func() {
				if recover() == nil {
					t.Errorf("a closed connection became %s", p)
				}
			}()
			c.become(p)
		}()
	}
}
