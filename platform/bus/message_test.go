package bus

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/job"
)

func someWork() Bundle {
	return Bundle{
		JobID: "job_a", Job: 7, Attempt: 1, Pool: "espeak", Class: job.Bulk,
		Segments: []Segment{{N: 64, Pronunciations: json.RawMessage(`{"a":"b"}`)}, {N: 1, Text: "Hello"}},
	}
}

func TestWhatIsSentIsWhatIsRead(t *testing.T) {
	t.Parallel()
	want := Envelope{Jobs: []AcceptedJob{{
		ID: "job_a", Tenant: "default", AcceptedAt: time.Unix(1, 2).UTC(), SourceKey: "uploads/default/upl_1", SourceETag: "e",
		Spec: job.Spec{Input: job.Input{Text: "Hello <b>\u2028&\x00"}, Labels: map[string]string{"a": "b"}},
	}}}
	data, err := encode(want)
	require.NoError(t, err)
	got, err := decode[Envelope](data)
	require.NoError(t, err)
	require.Empty(t, cmp.Diff(want, got))

	data, err = encode(someWork())
	require.NoError(t, err)
	work, err := decode[Bundle](data)
	require.NoError(t, err)
	require.Empty(t, cmp.Diff(someWork(), work))
}

func TestMessagesThatNobodyCanUseAreRefused(t *testing.T) {
	t.Parallel()
	refuse := func(name string, err error) {
		t.Helper()
		require.Error(t, err, name)
	}
	for name, text := range map[string]string{
		"nothing": "", "not JSON": "x", "two values": `{"job_id":"a"}{}`, "another type": `[]`, "null": "null",
		"no segments":       `{"job_id":"job_a","job":1,"attempt":1,"pool":"p","class":"bulk"}`,
		"no number":         `{"job_id":"job_a","job":1,"attempt":1,"pool":"p","class":"bulk","segments":[{}]}`,
		"text for a number": `{"job_id":"job_a","job":1,"attempt":1,"pool":"p","class":"bulk","segments":[{"n":"1"}]}`,
		"too long":          `{"text":"` + strings.Repeat("x", MaxMessageBytes) + `"}`,
	} {
		_, err := decode[Bundle]([]byte(text))
		refuse(name, err)
	}
	for name, change := range map[string]func(*Bundle){
		"a job id with a dot":   func(w *Bundle) { w.JobID = "a.b" },
		"a job id with a star":  func(w *Bundle) { w.JobID = "*" },
		"a pool with a dot":     func(w *Bundle) { w.Pool = "a.b" },
		"a wildcard as a pool":  func(w *Bundle) { w.Pool = ">" },
		"no class":              func(w *Bundle) { w.Class = "" },
		"no attempt":            func(w *Bundle) { w.Attempt = 0 },
		"the pool of joins":     func(w *Bundle) { w.Pool = PoolAssemble },
		"that of encodings":     func(w *Bundle) { w.Pool = PoolEncode },
		"broken pronunciations": func(w *Bundle) { w.Segments[0].Pronunciations = json.RawMessage("{") },
		"no segment":            func(w *Bundle) { w.Segments = nil },
		"too many segments":     func(w *Bundle) { w.Segments = make([]Segment, MaxBundleSegments+1) },
		"two blocks":            func(w *Bundle) { w.Segments[1].N = 65 },
	} {
		w := someWork()
		change(&w)
		_, err := encode(w)
		refuse(name, err)
		require.Equal(t, job.Invalid, job.KindOf(err), name)
	}
	_, err := encode(Envelope{Jobs: make([]AcceptedJob, MaxEnvelopeJobs+1)})
	refuse("too many jobs", err)
	_, err = encode(Assembly{JobID: "job_a", Ordinal: -1, Attempt: 1, Class: job.Bulk})
	refuse("a negative chapter", err)
	_, err = encode(notes{{Job: 1, N: 1, Attempt: 1, Pool: "p", Actual: math.Inf(1)}})
	refuse("a note of endless audio", err)
	_, err = encode(Capacity{Worker: "w", Pool: "p", Goodput: -1})
	refuse("a negative pace", err)
}

func TestAnOlderReceiverReadsANewerMessage(t *testing.T) {
	t.Parallel()
	data, err := encode(someWork())
	require.NoError(t, err)
	got, err := decode[Bundle](bytes.Replace(data, []byte(`{"job_id"`), []byte(`{"new_member":[1],"job_id"`), 1))
	require.NoError(t, err)
	require.Empty(t, cmp.Diff(someWork(), got))
}

func FuzzDecode(f *testing.F) {
	for _, m := range []message{someWork(), notes{{Job: 1, N: 1, Attempt: 1, Pool: "p"}}, Capacity{Worker: "w", Pool: "p"}, Assembly{JobID: "job_a", Attempt: 1, Class: job.Bulk}, Envelope{Jobs: []AcceptedJob{{ID: "job_a", Tenant: "t", AcceptedAt: time.Unix(1, 0)}}}} {
		data, err := encode(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte(`{"jobs":[{"id":"a","tenant":"b","accepted_at":"2026-11-22T10:00:00Z","spec":{"output":{"pauses":{}}}}]}`))
	f.Add([]byte(`{"version":1}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		again(t, data, decode[Bundle])
		again(t, data, decode[Assembly])
		again(t, data, decode[Envelope])
		again(t, data, decode[notes])
		again(t, data, decode[Capacity])
		if h, err := decodeHint("hint.job.a", data); err == nil && (h.ID != "a" || h.Version < 0) {
			t.Errorf("decodeHint(%q) = %+v", data, h)
		}
	})
}

// again checks that what was read can be sent, and reads the same.
func again[T message](t *testing.T, data []byte, read func([]byte) (T, error)) {
	t.Helper()
	v, err := read(data)
	if err != nil {
		return
	}
	sent, err := encode(v)
	if err != nil {
		t.Fatalf("encode(%+v): %v", v, err)
	}
	if len(sent) > MaxMessageBytes {
		return // escaping made it longer
	}
	back, err := read(sent)
	if err != nil {
		t.Fatalf("read(%s): %v", sent, err)
	}
	if a, b := fmt.Sprintf("%+v", v), fmt.Sprintf("%+v", back); a != b && !bytes.Contains(data, []byte("pronunciations")) && !strings.Contains(a, "0x") {
		t.Errorf("%s reads as %s after %s", sent, b, a)
	}
}
