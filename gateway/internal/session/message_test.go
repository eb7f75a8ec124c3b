package session

import (
	"encoding/binary"
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/voicemill/voicemill/api/jobdoc"
	"github.com/voicemill/voicemill/api/voicemillv1"
	"github.com/voicemill/voicemill/gateway/internal/frame"
	"github.com/voicemill/voicemill/gateway/internal/problem"
	"github.com/voicemill/voicemill/job"
)

func TestAMessageHasOneBody(t *testing.T) {
	t.Parallel()
	for message, ok := range map[string]bool{
		`{"stream":1,"get":{"id":"x"}}`:           true,
		`{"ping":{}}`:                             true,
		`{"stream":1,"submit":{"spec":{"a":[]}}}`: true, // the operation says what is wrong with a spec
		`{"stream":1}`:                            false,
		`{"stream":1,"get":null}`:                 false,
		`{"stream":1,"get":{},"watch":{}}`:        false,
		`{"stream":-1,"get":{}}`:                  false,
		`{"stream":4294967296,"get":{}}`:          false,
		`{"stream":1,"accepted":{}}`:              false,
		`{"stream":1,"get":{}} {}`:                false,
		`[]`:                                      false,
		``:                                        false,
	} {
		_, err := parseJSON([]byte(message))
		require.Equal(t, ok, err == nil, "%s: %v", message, err)
	}
}

// replies has one of every kind.
func replies() []*reply {
	d := jobdoc.Accepted("job_x", jobdoc.Time{}.Time, &job.Spec{})
	e := jobdoc.EventOf(&d)
	return []*reply{
		{Hello: greeting()},
		{Stream: 1, Accepted: &acceptedReply{Job: &d, RequestID: "r"}},
		{Stream: 2, Job: &d},
		{Stream: 3, Event: &e},
		{Stream: 4, Problem: &problemReply{Document: &problem.Document{Status: 422, Errors: []job.Fault{{Pointer: "/a", Detail: "b"}}}, RetryAfterSeconds: 1}},
		{Ping: &beat{Data: "x"}},
		{Pong: &beat{Data: "x"}},
	}
}

func TestBothSpellingsSayTheSame(t *testing.T) {
	t.Parallel()
	for _, r := range replies() {
		plain, err := r.asJSON()
		require.NoError(t, err)
		var members map[string]json.RawMessage
		require.NoError(t, json.Unmarshal(plain, &members))
		require.Len(t, members, 2, "%s", plain)
		delete(members, "stream")
		b, err := r.asProto()
		require.NoError(t, err)
		f := &voicemillv1.Frame{}
		require.NoError(t, frame.Unmarshal(f, b))
		require.Equal(t, r.Stream, f.GetStream())
		m := f.ProtoReflect()
		body := m.WhichOneof(m.Descriptor().Oneofs().ByName("body"))
		require.Contains(t, members, string(body.Name()))
	}
}

func FuzzParseJSON(f *testing.F) {
	for _, s := range []string{
		`{"stream":1,"submit":{"spec":{"input":{"text":"a"}},"idempotency_key":"k"}}`, `{"stream":1,"get":{"id":"x","wait_seconds":5,"after_version":3}}`,
		`{"stream":1,"watch":{"id":"x"}}`, `{"stream":1,"cancel":{}}`, `{"ping":{"data":"\ud800"}}`, `{"stream":1,"window":{"bytes":1e3}}`, strings.Repeat("[", 100),
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		callable(t, func() (*request, error) { return parseJSON(b) })
	})
}

func FuzzParseProto(f *testing.F) {
	for _, m := range []*voicemillv1.Frame{
		{Stream: 1, Body: &voicemillv1.Frame_Submit{Submit: &voicemillv1.Submit{Spec: &voicemillv1.Spec{Text: "a"}, RequestId: "r"}}},
		{Stream: 2, Body: &voicemillv1.Frame_Submit{Submit: &voicemillv1.Submit{}}},
		{Stream: 3, Body: &voicemillv1.Frame_Watch{Watch: &voicemillv1.Watch{Id: "../..", AfterVersion: 1 << 63, Audio: true}}},
		{Stream: 4, Body: &voicemillv1.Frame_Get{Get: &voicemillv1.Get{Id: "a?b=c", WaitSeconds: 1 << 31}}},
		{Body: &voicemillv1.Frame_Hello{Hello: &voicemillv1.Hello{Authorization: "Bearer x", Window: 1 << 31}}},
		{Body: &voicemillv1.Frame_Job{Job: &voicemillv1.Job{}}},
	} {
		b, err := proto.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		callable(t, func() (*request, error) { return parseProto(b) })
	})
}

// callable makes the call that a message asks for, and looks whether its path holds
// what the client named in one part.
func callable(t *testing.T, parse func() (*request, error)) {
	t.Helper()
	r, err := parse()
	if err != nil {
		return
	}
	c := &call{id: r.Stream, request: r}
	if !c.named() {
		return
	}
	if n := strings.Count(c.path, "/"); n > 4 || strings.ContainsAny(c.path, "?#\r\n ") {
		t.Fatalf("path %q", c.path)
	}
	if r.Submit != nil {
		r.Submit.text()
	}
}

// FuzzNext cuts a stream of frames anywhere and compares with what it is whole.
func FuzzNext(f *testing.F) {
	one := binary.BigEndian.AppendUint32(nil, 3)
	one = append(one, "abc"...)
	f.Add(append(append([]byte{}, one...), one...), 5)
	f.Add([]byte{0, 0, 0, 0, 0, 0, 0, 1, 9}, 1)
	f.Add([]byte{0, 0, 1, 0}, 3)
	f.Fuzz(func(t *testing.T, b []byte, step int) {
		if step < 1 || len(b) > 1<<12 {
			return
		}
		var want, got []string
		for rest := b; len(rest) >= lengthBytes; {
			size := int(binary.BigEndian.Uint32(rest))
			if size > maxHello { // what the session refuses is tested elsewhere
				return
			}
			if len(rest) < lengthBytes+size {
				break
			}
			want = append(want, string(rest[lengthBytes:lengthBytes+size]))
			rest = rest[lengthBytes+size:]
		}
		s := &framed{session: &session{}}
		for at := 0; at < len(b); at += step {
			for piece := b[at:min(at+step, len(b))]; len(piece) > 0; {
				n, whole, err := s.next(piece)
				if err != nil || n == 0 {
					t.Fatalf("took %d bytes: %v", n, err)
				}
				piece = piece[n:]
				if whole != nil {
					got = append(got, string(whole))
				}
			}
		}
		require.Equal(t, want, got)
	})
}
