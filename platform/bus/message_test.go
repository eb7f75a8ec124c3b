package bus

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/job"
)

func someWork() Work {
	return Work{JobID: "job_a", N: 1, Attempt: 1, Pool: "espeak", Class: job.Bulk, Pronunciations: json.RawMessage(`{"a":"b"}`)}
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
	work, err := decode[Work](data)
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
		"no number":         `{"job_id":"job_a","attempt":1,"pool":"p","class":"bulk"}`,
		"text for a number": `{"job_id":"job_a","n":"1","attempt":1,"pool":"p","class":"bulk"}`,
		"too long":          `{"text":"` + strings.Repeat("x", MaxMessageBytes) + `"}`,
	} {
		_, err := decode[Work]([]byte(text))
		refuse(name, err)
	}
	for name, change := range map[string]func(*Work){
		"a job id with a dot":   func(w *Work) { w.JobID = "a.b" },
		"a job id with a star":  func(w *Work) { w.JobID = "*" },
		"a pool with a dot":     func(w *Work) { w.Pool = "a.b" },
		"a wildcard as a pool":  func(w *Work) { w.Pool = ">" },
		"no class":              func(w *Work) { w.Class = "" },
		"no attempt":            func(w *Work) { w.Attempt = 0 },
		"broken pronunciations": func(w *Work) { w.Pronunciations = json.RawMessage("{") },
		"no segment":            func(w *Work) { w.N = 0 },
	} {
		w := someWork()
		change(&w)
		_, err := encode(w)
		refuse(name, err)
		require.Equal(t, job.Invalid, job.KindOf(err), name)
	}
	_, err := encode(Envelope{Jobs: make([]AcceptedJob, MaxEnvelopeJobs+1)})
	refuse("too many jobs", err)
	_, err = encode(Assembly{JobID: "job_a", Ordinal: -1})
	refuse("a negative chapter", err)
}

func TestAnOlderReceiverReadsANewerMessage(t *testing.T) {
	t.Parallel()
	data, err := encode(someWork())
	require.NoError(t, err)
	got, err := decode[Work](bytes.Replace(data, []byte(`{"job_id"`), []byte(`{"new_member":[1],"job_id"`), 1))
	require.NoError(t, err)
	require.Empty(t, cmp.Diff(someWork(), got))
}

func FuzzDecode(f *testing.F) {
	for _, m := range []message{someWork(), Assembly{JobID: "job_a"}, Envelope{Jobs: []AcceptedJob{{ID: "job_a", Tenant: "t", AcceptedAt: time.Unix(1, 0)}}}} {
		data, err := encode(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte(`{"jobs":[{"id":"a","tenant":"b","accepted_at":"2026-11-22T10:00:00Z","spec":{"output":{"pauses":{}}}}]}`))
	f.Add([]byte(`{"version":1}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		again(t, data, decode[Work])
		again(t, data, decode[Assembly])
		again(t, data, decode[Envelope])
		if id, version, err := decodeHint("hint.job.a", data); err == nil && (id != "a" || version < 0) {
			t.Errorf("decodeHint(%q) = %q, %d", data, id, version)
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
