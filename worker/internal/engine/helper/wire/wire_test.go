package wire_test

import (
	"bytes"
	"errors"
	"io"
	"math"
	"slices"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/worker/internal/engine/helper/wire"
)

func frames(tb testing.TB, write func(w *wire.Writer)) []byte {
	tb.Helper()
	var b bytes.Buffer
	w := wire.NewWriter(&b)
	write(w)
	require.NoError(tb, w.Flush())
	return b.Bytes()
}

func TestFramesComeBackAsTheyWere(t *testing.T) {
	t.Parallel()
	request := wire.Request[string]{ID: 1 << 60, Body: "“Grüße” \U0001f600\n"}
	events := []wire.Event{{Kind: wire.EventSentence, Position: 1}, {Kind: wire.EventWord, Position: math.MaxUint32, Length: 5, Sample: math.MaxInt64}}
	pcm := []byte{1, 0, 0xff, 0x7f, 0, 0x80}
	stream := frames(t, func(w *wire.Writer) {
		require.NoError(t, w.WriteJSON(wire.TypeRequest, request))
		require.NoError(t, w.Write(wire.TypeAudio, pcm))
		require.NoError(t, w.Write(wire.TypeEvents, wire.AppendEvent(wire.AppendEvent(nil, events[0]), events[1])))
		require.NoError(t, w.Write(wire.TypeAudio, make([]byte, wire.MaxFrame-1)))
		require.NoError(t, w.WriteJSON(wire.TypeDone, wire.Done{ID: 1 << 60, Samples: 3, Code: wire.CodeOK}))
	})
	r := wire.NewReader(iotest.HalfReader(bytes.NewReader(stream)))
	next := func(want wire.Type) []byte {
		got, body, err := r.Next()
		require.NoError(t, err)
		require.Equal(t, want, got)
		return body
	}
	var gotRequest wire.Request[string]
	require.NoError(t, wire.DecodeJSON(next(wire.TypeRequest), &gotRequest))
	require.Equal(t, request, gotRequest)
	samples, err := wire.DecodeSamples([]int16{9}, next(wire.TypeAudio))
	require.NoError(t, err)
	require.Equal(t, []int16{9, 1, 32767, -32768}, samples)
	gotEvents, err := wire.DecodeEvents(nil, next(wire.TypeEvents))
	require.NoError(t, err)
	require.Equal(t, events, gotEvents)
	require.Len(t, next(wire.TypeAudio), wire.MaxFrame-1)
	var done wire.Done
	require.NoError(t, wire.DecodeJSON(next(wire.TypeDone), &done))
	require.Equal(t, wire.Done{ID: 1 << 60, Samples: 3, Code: wire.CodeOK}, done)
	_, _, err = r.Next()
	require.ErrorIs(t, err, io.EOF)
}

func TestWriterRefusesWhatDoesNotFit(t *testing.T) {
	t.Parallel()
	require.Empty(t, frames(t, func(w *wire.Writer) {
		require.ErrorIs(t, w.Write(wire.TypeAudio, make([]byte, wire.MaxFrame)), wire.ErrProtocol)
	}))
}

func TestReaderRefusesOtherBytes(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		stream string
		want   error
	}{
		"nothing":             {"", io.EOF},
		"half a length":       {"\x00\x00", io.ErrUnexpectedEOF},
		"length of zero":      {"\x00\x00\x00\x00", wire.ErrProtocol},
		"length over limit":   {"\x00\x10\x00\x01a", wire.ErrProtocol},
		"text":                {"panic: runtime error", wire.ErrProtocol},
		"unknown type":        {"\x00\x00\x00\x01z", wire.ErrProtocol},
		"body that is cut":    {"\x00\x00\x00\x05a12", io.ErrUnexpectedEOF},
		"body that is absent": {"\x00\x00\x00\x05", io.ErrUnexpectedEOF},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, _, err := wire.NewReader(bytes.NewReader([]byte(c.stream))).Next()
			require.ErrorIs(t, err, c.want)
		})
	}
}

func TestBodiesAreChecked(t *testing.T) {
	t.Parallel()
	_, err := wire.DecodeSamples(nil, []byte{1})
	require.ErrorIs(t, err, wire.ErrProtocol)
	for name, body := range map[string][]byte{
		"a part of an event": make([]byte, 16),
		"unknown kind":       append([]byte{9}, make([]byte, 16)...),
		"negative sample":    append(append([]byte{1}, make([]byte, 8)...), 0xff, 0, 0, 0, 0, 0, 0, 0),
	} {
		_, err := wire.DecodeEvents(nil, body)
		require.ErrorIs(t, err, wire.ErrProtocol, name)
	}
	require.ErrorIs(t, wire.DecodeJSON([]byte("{"), &wire.Done{}), wire.ErrProtocol)
}

func FuzzReader(f *testing.F) {
	f.Add(frames(f, func(w *wire.Writer) {
		_ = w.WriteJSON(wire.TypeHello, wire.Hello{Version: 1, Rate: 22050})
		_ = w.Write(wire.TypeAudio, []byte{1, 2})
		_ = w.Write(wire.TypeEvents, wire.AppendEvent(nil, wire.Event{Kind: wire.EventWord, Position: 1, Length: 2, Sample: 3}))
		_ = w.WriteJSON(wire.TypeDone, wire.Done{Code: wire.CodeOK})
	}))
	f.Add([]byte("\x00\x10\x00\x00a"))
	f.Add([]byte("\x00\x00\x00\x03d{}"))
	f.Fuzz(func(t *testing.T, stream []byte) {
		r := wire.NewReader(bytes.NewReader(stream))
		var again bytes.Buffer
		w := wire.NewWriter(&again)
		for {
			kind, body, err := r.Next()
			if err != nil {
				if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, wire.ErrProtocol) {
					t.Fatalf("error of no kind: %v", err)
				}
				break
			}
			if err := w.Write(kind, slices.Clone(body)); err != nil {
				t.Fatal(err)
			}
			if events, err := wire.DecodeEvents(nil, body); err == nil {
				var same []byte
				for _, e := range events {
					same = wire.AppendEvent(same, e)
				}
				if !bytes.Equal(same, body) {
					t.Fatal("events do not survive")
				}
			}
			if _, err := wire.DecodeSamples(nil, body); (err == nil) != (len(body)%2 == 0) {
				t.Fatal("odd audio")
			}
			_ = wire.DecodeJSON(body, &wire.Done{})
		}
		if err := w.Flush(); err != nil || !bytes.HasPrefix(stream, again.Bytes()) {
			t.Fatal("frames do not survive")
		}
	})
}
