package console_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/voicemill/voicemill/voicemill/internal/cli/console"
)

// terminal obeys the few control sequences that a Screen sends.
type terminal struct {
	t        *testing.T
	cols     int
	lines    [][]rune
	row, col int
	hidden   bool
}

func (v *terminal) Write(p []byte) (int, error) {
	rs := []rune(string(p))
	for i := 0; i < len(rs); i++ {
		switch rs[i] {
		case '\r':
			v.col = 0
		case '\n':
			v.row++
		case '\x1b':
			end := i + 2
			for rs[end] < '@' || rs[end] == '?' {
				end++
			}
			v.control(string(rs[i+2 : end+1]))
			i = end
		default:
			if v.col == v.cols {
				v.row, v.col = v.row+1, 0
			}
			v.line()
			for len(v.lines[v.row]) <= v.col {
				v.lines[v.row] = append(v.lines[v.row], ' ')
			}
			v.lines[v.row][v.col] = rs[i]
			v.col++
		}
	}
	return len(p), nil
}

func (v *terminal) line() {
	for len(v.lines) <= v.row {
		v.lines = append(v.lines, nil)
	}
}

func (v *terminal) control(c string) {
	v.line()
	switch {
	case c == "?25l":
		v.hidden = true
	case c == "?25h":
		v.hidden = false
	case c == "K":
		v.lines[v.row] = v.lines[v.row][:min(v.col, len(v.lines[v.row]))]
	case c == "J":
		v.lines[v.row] = v.lines[v.row][:min(v.col, len(v.lines[v.row]))]
		v.lines = v.lines[:v.row+1]
	case strings.HasSuffix(c, "A"):
		n, err := strconv.Atoi(strings.TrimSuffix(c, "A"))
		if err != nil || n > v.row {
			v.t.Errorf("moves up by %s from row %d", c, v.row)
			return
		}
		v.row -= n
	default:
		v.t.Errorf("unknown control sequence %q", c)
	}
}

// shows returns what stands on the terminal.
func (v *terminal) shows() string {
	var b strings.Builder
	for _, l := range v.lines {
		b.WriteString(strings.TrimRight(string(l), " ") + "\n")
	}
	return strings.TrimRight(b.String(), "\n")
}

func TestScreenRedrawsInPlace(t *testing.T) {
	t.Parallel()
	v := &terminal{t: t, cols: 20}
	rows := 24
	s := console.NewScreen(v, func() (int, int) { return v.cols, rows })
	for _, c := range []struct {
		do   func()
		want string
	}{
		{func() { s.Draw("one\ntwo\nthree") }, "one\ntwo\nthree"},
		{func() { s.Draw("1\n2\n3") }, "1\n2\n3"},
		{func() { s.Draw("fewer\nlines") }, "fewer\nlines"},
		{func() { s.Note("a note") }, "a note"},
		{func() { s.Draw("one\ntwo\nthree") }, "a note\none\ntwo\nthree"},
		{func() { s.Draw("a line that is far too long") }, "a note\na line that is far…"},
		{func() { rows = 3; s.Draw("one\ntwo\nthree") }, "a note\none\ntwo"},
		{func() { s.Clear() }, "a note"},
		{func() { s.Draw("the end") }, "a note\nthe end"},
	} {
		c.do()
		if diff := cmp.Diff(c.want, v.shows()); diff != "" {
			t.Fatalf("the terminal (-want +got):\n%s", diff)
		}
		if !v.hidden {
			t.Error("the cursor shows while something is redrawn")
		}
	}
	s.Close()
	s.Close()
	_, _ = fmt.Fprint(v, "prompt")
	if got := v.shows(); v.hidden || got != "a note\nthe end\nprompt" {
		t.Errorf("after Close the terminal shows %q, cursor hidden %v", got, v.hidden)
	}
}

func TestScreenCountsTheRowsOfANarrowerTerminal(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	cols := 80
	s := console.NewScreen(&b, func() (int, int) { return cols, 24 })
	s.Draw(strings.Repeat("x", 79) + "\nyy\n" + strings.Repeat("z", 50))
	cols = 30 // the terminal wraps them into 3, 1 and 2 rows; the cursor is in the last
	b.Reset()
	s.Draw("short")
	if !strings.HasPrefix(b.String(), "\r\x1b[5A") {
		t.Errorf("Draw = %q; want it to go up 5 rows first", b.String())
	}
}

func TestNobodyWatchesAPipe(t *testing.T) {
	t.Parallel()
	con := &console.Console{Out: &strings.Builder{}, Err: &strings.Builder{}, Getenv: func(string) string { return "" }}
	if con.OutScreen() != nil || con.ErrScreen() != nil {
		t.Error("a buffer has a screen; want none")
	}
	con.OutScreen().Close() // a missing screen may be closed
}
