package strictjson_test

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/gateway/internal/strictjson"
	"github.com/voicemill/voicemill/job"
)

func schema() *strictjson.Schema[job.Spec] { return strictjson.For[job.Spec]() }

func TestEveryFaultIsNamedWithItsPointer(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		in   string
		want []string // pointer and the start of the detail
	}{
		"a good request":              {`{"input":{"text":"Hello."},"speed":1.5,"seed":-7,"labels":{"a":"b"},"deadline":"2026-12-01T06:00:00Z"}`, nil},
		"an unknown field":            {`{"input":{"text":"x"},"colour":"red"}`, []string{"/colour is not a known field"}},
		"a field in other case":       {`{"Input":{"text":"x"}}`, []string{`/Input is not a known field; it is spelled "input"`}},
		"an unknown field far inside": {`{"input":{"segments":[{"text":"a"},{"text":"b","pitch":3}]}}`, []string{"/input/segments/1/pitch is not a known field"}},
		"wrong types, all of them":    {`{"input":"x","voice":3,"speed":"fast","labels":[],"seed":1.5}`, []string{"/input must be an object, is a string", "/voice must be a string, is a number", "/speed must be a number, is a string", "/labels must be an object, is a list", "/seed must be a whole number, is 1.5"}},
		"null":                        {`{"input":{"text":null},"callback":null}`, []string{"/input/text must be a string, is null", "/callback must be an object, is null"}},
		"a member given twice":        {`{"input":{"text":"a","text":"b"}}`, []string{"/input/text is given twice"}},
		"a label given twice":         {`{"input":{"text":"a"},"labels":{"a/b":"1","a/b":"2"}}`, []string{"/labels/a~1b is given twice"}},
		"a label that is no string":   {`{"input":{"text":"a"},"labels":{"a":1}}`, []string{"/labels/a must be a string, is a number"}},
		"a time that is none":         {`{"input":{"text":"a"},"deadline":"tomorrow"}`, []string{"/deadline must be a time"}},
		"an integer out of range":     {`{"input":{"text":"a"},"seed":99999999999999999999}`, []string{"/seed must be a whole number"}},
		"a float out of range":        {`{"input":{"text":"a"},"speed":1e999}`, []string{"/speed is out of range"}},
		"a list at the top":           {`[1,2]`, []string{" must be an object, is a list"}},
		"a word at the top":           {`true`, []string{" must be an object, is true"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var spec job.Spec
			faults, err := schema().Decode([]byte(c.in), &spec)
			require.NoError(t, err)
			require.Len(t, faults.List, len(c.want), "%v", faults)
			for i, want := range c.want {
				got := faults.List[i].Pointer + " " + faults.List[i].Detail
				require.True(t, strings.HasPrefix(got, want), "got %q; want %q", got, want)
			}
		})
	}
}

func TestTextThatIsNotJSONIsRefusedWithItsPlace(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		in     string
		offset int
	}{
		"nothing":                    {"", 0},
		"spaces only":                {"   ", 3},
		"words":                      {"hello", 0},
		"form data":                  {"a=b", 0},
		"cut in a member":            {`{"input":`, 9},
		"cut in a string":            {`{"input`, 7},
		"a comma too many":           {`{"voice":"a",}`, 13},
		"a comma too many in a list": {`{"output":{"formats":["wav",]}}`, 28},
		"no comma":                   {`{"voice":"a" "speed":1}`, 13},
		"no colon":                   {`{"voice" "a"}`, 9},
		"single quotes":              {`{'voice':"a"}`, 1},
		"trailing data":              {`{} {}`, 3},
		"not UTF-8":                  {"{\"voice\":\"\xff\"}", 10},
		"a control character":        {"{\"voice\":\"a\nb\"}", 11},
		"half a surrogate pair":      {`{"voice":"\ud800x"}`, 9},
		"a low surrogate first":      {`{"voice":"\udc00\ud800"}`, 9},
		"a bad escape":               {`{"voice":"\x"}`, 9},
		"a number with a plus":       {`{"speed":+1}`, 9},
		"a number with two dots":     {`{"speed":1.2.3}`, 9},
		"a number with a zero":       {`{"speed":01}`, 9},
		"an escape at the end":       {`"\`, 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var spec job.Spec
			_, err := schema().Decode([]byte(c.in), &spec)
			var syntax *strictjson.SyntaxError
			require.ErrorAs(t, err, &syntax)
			require.Equal(t, c.offset, syntax.Offset, syntax.Error())
		})
	}
}

func TestMembersWithoutFaultsAreReadAllTheSame(t *testing.T) {
	t.Parallel()
	var spec job.Spec
	faults, err := schema().Decode([]byte(`{"deadline":"never","output":{"pauses":{"chapter":"x"}},"colour":1,"input":{"text":"Hello."},"speed":9}`), &spec)
	require.NoError(t, err)
	require.Len(t, faults.List, 3)
	require.Equal(t, "Hello.", spec.Input.Text)
	require.InDelta(t, 9, spec.Speed, 0)
	require.Nil(t, spec.Deadline)
	require.Equal(t, job.DefaultPauses(), *spec.Output.Pauses)
}

func TestMembersBesideAFaultAreReadHoweverDeep(t *testing.T) {
	t.Parallel()
	body := []byte(`{"input":{"segments":[{"text":"a","voice":3},{"text":null,"voice":"b"},7]},"callback":[],"labels":{"a":"b","c":4}}`)
	var spec job.Spec
	faults, err := schema().Decode(body, &spec)
	require.NoError(t, err)
	require.Len(t, faults.List, 5)
	clear(body) // whose buffer is used again
	require.Len(t, spec.Input.Segments, 3)
	require.Equal(t, "a", spec.Input.Segments[0].Text)
	require.Equal(t, "b", spec.Input.Segments[1].Voice)
	require.Equal(t, "b", spec.Labels["a"])
	require.Nil(t, spec.Callback)
}

func TestDepthIsBounded(t *testing.T) {
	t.Parallel()
	var spec job.Spec
	_, err := schema().Decode([]byte(`{"x":`+strings.Repeat("[", 100_000)), &spec)
	var syntax *strictjson.SyntaxError
	require.ErrorAs(t, err, &syntax)
	require.Contains(t, syntax.Detail, "deeper than 16")
}

func TestFaultsAreBounded(t *testing.T) {
	t.Parallel()
	var spec job.Spec
	faults, err := schema().Decode([]byte(`{"input":{"segments":[`+strings.Repeat("1,", 5000)+`1]}}`), &spec)
	require.NoError(t, err)
	require.Len(t, faults.List, job.MaxFaults)
	require.Equal(t, 5001-job.MaxFaults, faults.More)
}

func TestAGoodRequestIsReadAsTheStandardDecoderReadsIt(t *testing.T) {
	t.Parallel()
	in := []byte(`{"input":{"segments":[{"text":"a \ud83d\ude00 \u00e9"}]},"output":{"pauses":{"chapter":2}},"deadline":"2026-12-01T06:00:00.5+01:00","callback":{"url":"https://example.com"}}`)
	var got, want job.Spec
	faults, err := schema().Decode(in, &got)
	require.NoError(t, err)
	require.Empty(t, faults.List)
	require.NoError(t, json.Unmarshal(in, &want))
	require.Equal(t, want, got)
	require.Equal(t, "a 😀 é", got.Input.Segments[0].Text)
	require.InDelta(t, 0.35, got.Output.Pauses.Sentence, 0, "pauses that are not named keep their default")
	require.WithinDuration(t, time.Date(2026, 12, 1, 5, 0, 0, 5e8, time.UTC), *got.Deadline, 0)
}

// FuzzDecode holds the parser against the standard one: both must agree on what
// is JSON, and what passes without faults must decode to the same value.
func FuzzDecode(f *testing.F) {
	for _, s := range []string{
		`{"input":{"text":"Hello."}}`, `{"input":{"segments":[{"text":"a","voice":"b"}]},"labels":{"k":"v"}}`,
		`{"input":{"upload":"upl_1","media_type":"application/epub+zip"},"output":{"formats":["wav"],"pauses":{"sentence":0.1}}}`,
		`{"a":1,"a":2}`, `{"deadline":"2026-12-01T06:00:00Z"}`, `[[[[[]]]]]`, `"\ud800"`, `{"seed":-0.0e+1}`, "\xff", `{"speed":1}x`, `nul`, `{"Input":null}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var got, want job.Spec
		faults, err := schema().Decode(data, &got)
		if err != nil {
			var syntax *strictjson.SyntaxError
			if !errors.As(err, &syntax) || syntax.Offset < 0 || syntax.Offset > len(data) {
				t.Fatalf("Decode(%q) = %v", data, err)
			}
			return
		}
		if !json.Valid(data) {
			t.Fatalf("Decode accepted %q, which is not JSON", data)
		}
		if faults.Any() {
			return
		}
		if err := json.Unmarshal(data, &want); err != nil {
			if bad, ok := errors.AsType[*json.UnmarshalTypeError](err); ok && strings.ContainsAny(bad.Value, ".eE") && bad.Type.Kind() != reflect.Float64 {
				return // an integer that is written as a fraction
			}
			t.Fatalf("Decode accepted %q; Unmarshal says %v", data, err)
		}
		a, _ := json.Marshal(got)
		b, _ := json.Marshal(want)
		if string(a) != string(b) {
			t.Fatalf("Decode(%q) = %s; want %s", data, a, b)
		}
	})
}

func TestARawMemberIsLeftToTheCaller(t *testing.T) {
	t.Parallel()
	type request struct {
		Voice json.RawMessage `json:"voice"`
		Speed float64         `json:"speed"`
	}
	s := strictjson.For[request]()
	for _, voice := range []string{`"anna"`, `{"id":"anna","more":[1,null]}`, `7`} {
		var got request
		faults, err := s.Decode([]byte(`{"speed":1,"voice":`+voice+`}`), &got)
		require.NoError(t, err)
		require.Empty(t, faults.List)
		require.Equal(t, voice, string(got.Voice))
	}
	var got request
	_, err := s.Decode([]byte(`{"voice":{"id":}}`), &got)
	require.Error(t, err)
	faults, err := s.Decode([]byte(`{"voice":1,"voice":2}`), &got)
	require.NoError(t, err)
	require.Len(t, faults.List, 1)
}

func BenchmarkDecode(b *testing.B) {
	in := []byte(`{"input":{"text":"` + strings.Repeat("The quick brown fox jumps over the lazy dog. ", 40) + `"},"voice":"narrator-en","language":"en","labels":{"book":"pg1661"},"callback":{"url":"https://example.com/hook"}}`)
	s := schema()
	b.SetBytes(int64(len(in)))
	b.ReportAllocs()
	for b.Loop() {
		var spec job.Spec
		if _, err := s.Decode(in, &spec); err != nil {
			b.Fatal(err)
		}
	}
}

func TestAnIntegerMayBeWrittenAsJSONSchemaAllows(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]int64{"10147.0": 10147, "1e3": 1000, "-20e-1": -2, "0.0": 0, "7": 7, "9007199254740993": 9007199254740993} {
		var spec job.Spec
		faults, err := schema().Decode([]byte(`{"labels":{"a":"1"},"seed":`+in+`,"voice":"x"}`), &spec)
		require.NoError(t, err, in)
		require.False(t, faults.Any(), in)
		require.Equal(t, want, spec.Seed, in)
		require.Equal(t, "x", spec.Voice, in)
	}
	for _, in := range []string{"1.5", "1e-1", "1e19", "9007199254740993.0", "1e400"} {
		var spec job.Spec
		faults, err := schema().Decode([]byte(`{"seed":`+in+`}`), &spec)
		require.NoError(t, err, in)
		require.Len(t, faults.List, 1, in)
	}
}
