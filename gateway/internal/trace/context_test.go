package trace_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/gateway/internal/trace"
)

const sound = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

func TestATraceparentIsReadOrNot(t *testing.T) {
	t.Parallel()
	rest := sound[2:]
	for name, c := range map[string]struct{ field, want string }{
		"version 00":                     {sound, sound},
		"version 00 with unknown flags":  {sound[:53] + "ff", sound[:53] + "ff"},
		"a later version":                {"01" + rest, sound},
		"a later version that says more": {"cc" + rest + "-more", sound},
		"flags of a later version":       {"01" + rest[:len(rest)-2] + "fe", sound[:53] + "00"},
		"nothing":                        {"", ""},
		"other words":                    {"nonsense", ""},
		"version ff":                     {"ff" + rest, ""},
		"version 00 that says more":      {sound + "-more", ""},
		"a later version run together":   {"01" + rest + "more", ""},
		"no version":                     {"0x" + rest, ""},
		"no trace":                       {"00-00000000000000000000000000000000-00f067aa0ba902b7-01", ""},
		"no parent":                      {"00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01", ""},
		"capital letters":                {strings.ToUpper(sound), ""},
		"other separators":               {strings.ReplaceAll(sound, "-", "_"), ""},
		"cut off":                        {sound[:len(sound)-1], ""},
		"two of them":                    {sound + "," + sound, ""},
	} {
		got, ok := trace.Parent([]byte(c.field))
		require.Equal(t, c.want, got, name)
		require.Equal(t, c.want != "", ok, name)
	}
	require.Equal(t, "4bf92f3577b34da6a3ce929d0e0e4736", trace.ID(sound))
}

// members returns a list of n members with values of so many bytes.
func members(n, value int) []string {
	all := make([]string, n)
	for i := range all {
		all[i] = fmt.Sprintf("k%d=%s", i, strings.Repeat("v", value))
	}
	return all
}

func TestATracestateIsPassedOnWithinLimits(t *testing.T) {
	t.Parallel()
	join := func(m ...string) string { return strings.Join(m, ",") }
	long := members(5, 100) // 104 bytes each with its comma
	for name, c := range map[string]struct{ list, want string }{
		"nothing":                       {"", ""},
		"one member":                    {"rojo=00f067aa0ba902b7", "rojo=00f067aa0ba902b7"},
		"blanks and empty members":      {" a=1 ,,\tb=2 ,", "a=1,b=2"},
		"a key of a tenant":             {"0tenant@sys-_*/=x", "0tenant@sys-_*/=x"},
		"a value with blanks":           {"a= b c ", "a= b c"},
		"32 members":                    {join(members(32, 1)...), join(members(32, 1)...)},
		"33 members":                    {join(members(33, 1)...), ""},
		"the same key twice":            {"a=1,b=2,a=3", ""},
		"no value":                      {"a=1,b", ""},
		"an empty value":                {"a=", ""},
		"no key":                        {"=1", ""},
		"a capital letter in a key":     {"Rojo=1", ""},
		"a key that begins with @":      {"@a=1", ""},
		"a second = in a value":         {"a=b=c", ""},
		"a control character":           {"a=b\x00", ""},
		"what is not ASCII":             {"a=é", ""},
		"a key of 256 bytes":            {strings.Repeat("k", 256) + "=1", strings.Repeat("k", 256) + "=1"},
		"a key of 257 bytes":            {strings.Repeat("k", 257) + "=1", ""},
		"a value of 257 bytes":          {"k=" + strings.Repeat("v", 257), ""},
		"more than 512 bytes":           {join(long...), join(long[:4]...)},
		"long members go first":         {join("x="+strings.Repeat("v", 200), long[0], long[1], long[2], long[3]), join(long[:4]...)},
		"and no more of them than must": {join("x="+strings.Repeat("v", 200), "y="+strings.Repeat("v", 200), long[0], long[1]), join("x="+strings.Repeat("v", 200), long[0], long[1])},
	} {
		require.Equal(t, c.want, trace.State(c.list), name)
	}
}

func TestABegunTraceIsWellFormedAndItsOwn(t *testing.T) {
	t.Parallel()
	s, err := trace.NewSource(bytes.NewReader(make([]byte, 32)))
	require.NoError(t, err)
	seen := map[string]bool{}
	for range 100 {
		tp := s.Begin()
		got, ok := trace.Parent([]byte(tp))
		require.True(t, ok, tp)
		require.Equal(t, tp, got)
		seen[trace.ID(tp)] = true
	}
	require.Len(t, seen, 100)
	_, err = trace.NewSource(iotest.ErrReader(errors.New("no entropy")))
	require.ErrorContains(t, err, "no entropy")
}

func FuzzParent(f *testing.F) {
	f.Add([]byte(sound))
	f.Add([]byte("01" + sound[2:] + "-more"))
	f.Add([]byte("ff" + sound[2:]))
	f.Fuzz(func(t *testing.T, field []byte) {
		got, ok := trace.Parent(field)
		if !ok {
			return
		}
		if again, ok := trace.Parent([]byte(got)); !ok || again != got || !strings.HasPrefix(got, "00-") {
			t.Errorf("Parent(%q) = %q, which is read as %q", field, got, again)
		}
	})
}

func FuzzState(f *testing.F) {
	f.Add("rojo=00f067aa0ba902b7,congo=t61rcWkgMzE")
	f.Add(" a=1 ,,\tb=2 ,")
	f.Add(strings.Join(members(33, 20), ","))
	f.Fuzz(func(t *testing.T, list string) {
		got := trace.State(list)
		if again := trace.State(got); again != got || len(got) > 512 || strings.Count(got, ",") > 31 {
			t.Errorf("State(%q) = %q, which is read as %q", list, got, again)
		}
	})
}
