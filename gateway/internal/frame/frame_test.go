package frame_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/voicemill/voicemill/api/voicemillv1"
	"github.com/voicemill/voicemill/gateway/internal/frame"
)

func submit(stream uint32, text string) *voicemillv1.Frame {
	return &voicemillv1.Frame{Stream: stream, Body: &voicemillv1.Frame_Submit{
		Submit: &voicemillv1.Submit{Spec: &voicemillv1.Spec{Text: text, Labels: map[string]string{"book": "one"}}, IdempotencyKey: "k"},
	}}
}

func TestFramesCutAnywhereComeBackWhole(t *testing.T) {
	t.Parallel()
	want := []*voicemillv1.Frame{submit(1, "one"), {Body: &voicemillv1.Frame_Ping{Ping: &voicemillv1.Ping{Data: []byte("p")}}}, submit(2, strings.Repeat("two", 1000))}
	var wire []byte
	for _, f := range want {
		var err error
		wire, err = frame.Append(wire, f)
		require.NoError(t, err)
	}
	for cut := range wire {
		var got []*voicemillv1.Frame
		pending := bytes.Clone(wire[:cut])
		rest := wire[cut:]
		for {
			f := new(voicemillv1.Frame)
			n, err := frame.Parse(f, pending, frame.MaxBytes)
			require.NoError(t, err)
			if n > 0 {
				got, pending = append(got, f), pending[n:]
				continue
			}
			if rest == nil {
				break
			}
			pending, rest = append(pending, rest...), nil
		}
		require.Len(t, got, len(want), "cut at %d", cut)
		for i := range want {
			require.True(t, proto.Equal(want[i], got[i]))
		}
	}
}

func TestBadFrames(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		wire string
		want error
	}{
		"a length over the limit": {"\x00\x10\x00\x01", frame.ErrTooLarge},
		"a length of 4 GiB":       {"\xff\xff\xff\xff", frame.ErrTooLarge},
		"no body":                 {"\x00\x00\x00\x00", frame.ErrMalformed},
		"a stream and no body":    {"\x00\x00\x00\x02\x08\x01", frame.ErrMalformed},
		"noise":                   {"\x00\x00\x00\x03\xff\xff\xff", frame.ErrMalformed},
	} {
		if n, err := frame.Parse(new(voicemillv1.Frame), []byte(c.wire), frame.MaxBytes); n != 0 || !errors.Is(err, c.want) {
			t.Errorf("%s: Parse = %d, %v; want %v", name, n, err, c.want)
		}
	}
}

func TestAppendRefusesWhatTheOtherSideWould(t *testing.T) {
	t.Parallel()
	dst, err := frame.Append([]byte("before"), submit(1, strings.Repeat("x", frame.MaxBytes)))
	require.ErrorIs(t, err, frame.ErrTooLarge)
	require.Equal(t, "before", string(dst))
}

func FuzzParse(f *testing.F) {
	good, err := frame.Append(nil, submit(7, "a line"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte("\x00\x00\x00\x02\x08\x01"))
	f.Add([]byte("\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var got voicemillv1.Frame
		n, err := frame.Parse(&got, b, 1<<16)
		if err != nil || n == 0 {
			return
		}
		again, err := frame.Append(nil, &got)
		if err != nil {
			t.Fatalf("a parsed frame cannot be written: %v", err)
		}
		var back voicemillv1.Frame
		if _, err := frame.Parse(&back, again, frame.MaxBytes); err != nil || !proto.Equal(&got, &back) {
			t.Fatalf("round trip: %v", err)
		}
	})
}
