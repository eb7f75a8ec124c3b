package ws_test

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/gateway/internal/ws"
	"github.com/voicemill/voicemill/platform/testkit/corpus"
)

// play feeds input in pieces of step bytes, as a connection would, and returns
// the events as text and the close code of the error.
func play(r *ws.Reader, input []byte, step int) (events []string, code int) {
	var pending []byte
	for len(input) > 0 {
		n := min(step, len(input))
		pending = append(pending, input[:n]...)
		input = input[n:]
		for {
			used, ev, err := r.Next(pending)
			pending = pending[used:]
			if err != nil {
				return events, codeOf(err)
			}
			if ev.Packed {
				if ev.Data, err = r.Unpack(ev.Op, ev.Data); err != nil {
					return events, codeOf(err)
				}
			}
			switch {
			case ev.Exists && ev.Op == ws.Close:
				events = append(events, said(ev.Op, fmt.Sprintf("%d %s", ev.Code, ev.Data)))
			case ev.Exists:
				events = append(events, said(ev.Op, string(ev.Data)))
			}
			if used == 0 && !ev.Exists {
				break
			}
			r.Release()
		}
	}
	return events, 0
}

func codeOf(err error) int {
	var pe *ws.ProtocolError
	if !errors.As(err, &pe) {
		panic("bug: an error that is no ProtocolError: " + err.Error())
	}
	return pe.Code
}

func TestRFC6455(t *testing.T) {
	t.Parallel()
	cases := corpus.WebSocket()
	require.GreaterOrEqual(t, len(cases), 200)
	for name, c := range cases {
		for _, step := range []int{1, 3, 1000, len(c.Input)} {
			if step == 1 && len(c.Input) > 70_000 {
				continue // the byte-wise cut is covered by the shorter ones
			}
			events, code := play(ws.NewReader(maxMessage, nil), bytes.Clone(c.Input), step)
			if strings.Join(events, "\n") != strings.Join(sayings(c.Want), "\n") || code != c.Code {
				t.Errorf("%s, in steps of %d: %d events, code %d; want %d events, code %d", name, step, len(events), code, len(c.Want), c.Code)
			}
		}
	}
}

func TestTextFailsAtTheFirstBadByte(t *testing.T) {
	t.Parallel()
	r := ws.NewReader(maxMessage, nil)
	whole := part(ws.Text, "κόσμε\xed\xa0\x80 and much more that never arrives")
	_, code := play(r, whole[:6+14], 1)
	require.Equal(t, ws.CodeInvalidPayload, code)
}

func TestCompressedMessagesComeBackWhole(t *testing.T) {
	t.Parallel()
	deflater, err := ws.NewDeflater(1)
	require.NoError(t, err)
	for _, text := range []string{"", "a", strings.Repeat("chapter one ", 5000)} {
		compressed := deflater.Append(nil, []byte(text))
		in := frame(0x80|0x40|byte(ws.Text), compressed)
		events, code := play(ws.NewReader(maxMessage, ws.NewInflater()), in, 7)
		require.Zero(t, code)
		require.Equal(t, []string{said(ws.Text, text)}, events)
	}
}

func TestCompressedMessageInFragments(t *testing.T) {
	t.Parallel()
	deflater, err := ws.NewDeflater(6)
	require.NoError(t, err)
	c := deflater.Append(nil, []byte(strings.Repeat("fragment ", 100)))
	in := join(frame(0x40|byte(ws.Binary), c[:3]), fin(ws.Ping, "p"), fin(ws.Continuation, string(c[3:])))
	events, code := play(ws.NewReader(maxMessage, ws.NewInflater()), in, 2)
	require.Zero(t, code)
	require.Equal(t, []string{said(ws.Ping, "p"), said(ws.Binary, strings.Repeat("fragment ", 100))}, events)
}

// emptyBlocks is a DEFLATE stream of size bytes, every dozen of which describe a code
// that nothing is written in.
func emptyBlocks(size int) []byte {
	var b []byte
	at := 0
	put := func(v, n int) {
		for i := range n {
			if at%8 == 0 {
				b = append(b, 0)
			}
			b[at/8] |= byte(v >> i & 1 << (at % 8))
			at++
		}
	}
	for len(b) < size-12 {
		put(0b100, 3)      // not the last; dynamic
		put(14<<10, 14)    // 257 literals, 1 distance, 18 lengths of codes for lengths
		put(1<<(2*3), 9*3) // those of 18 and, last,
		put(1<<(8*3), 9*3) // of 1 have one bit
		put(1|127<<1, 8)   // no literal: 138 times 0
		put(1|107<<1, 8)   // and 118 times
		put(0, 3)          // the end and a distance, one bit each; the end
	}
	put(0, 3) // the block whose rest is cut off the message
	return b
}

func TestLargeCompressedMessagesAreLeftToTheCaller(t *testing.T) {
	t.Parallel()
	deflater, err := ws.NewDeflater(1)
	require.NoError(t, err)
	inflater := ws.NewInflater()
	rng := rand.New(rand.NewPCG(1, 2))
	noise := make([]byte, 1<<16)
	for i := range noise {
		noise[i] = "0123456789abcdef"[rng.IntN(16)]
	}
	for size, packed := range map[int]bool{500: false, len(noise): true} {
		r := ws.NewReader(maxMessage, inflater)
		_, ev, err := r.Next(frame(0x80|0x40|byte(ws.Text), deflater.Append(nil, noise[:size])))
		require.NoError(t, err)
		require.True(t, ev.Exists)
		require.Equal(t, packed, ev.Packed)
		if packed {
			ev.Data, err = r.Unpack(ev.Op, ev.Data)
			require.NoError(t, err)
		}
		require.Equal(t, string(noise[:size]), string(ev.Data))
	}
}

func TestBadCompressedMessages(t *testing.T) {
	t.Parallel()
	deflater, err := ws.NewDeflater(9)
	require.NoError(t, err)
	cases := map[string]struct {
		input []byte
		code  int
	}{
		"a bomb":                       {frame(0xC0|byte(ws.Binary), deflater.Append(nil, make([]byte, maxMessage+1))), ws.CodeTooBig},
		"a megabyte of empty blocks":   {frame(0xC0|byte(ws.Binary), emptyBlocks(maxMessage)), ws.CodeInvalidPayload},
		"noise":                        {frame(0xC0|byte(ws.Binary), bytes.Repeat([]byte{0xff}, 64)), ws.CodeInvalidPayload},
		"text that is not UTF-8":       {frame(0xC0|byte(ws.Text), deflater.Append(nil, []byte("\xff\xfe"))), ws.CodeInvalidPayload},
		"the bit on a continuation":    {join(part(ws.Text, "x"), frame(0xC0, nil)), ws.CodeProtocolError},
		"the bit on a control frame":   {frame(0xC0|byte(ws.Ping), nil), ws.CodeProtocolError},
		"a reserved bit that is not 1": {frame(0xA0|byte(ws.Text), nil), ws.CodeProtocolError},
	}
	for name, c := range cases {
		if _, code := play(ws.NewReader(maxMessage, ws.NewInflater()), c.input, 1<<20); code != c.code {
			t.Errorf("%s: code %d; want %d", name, code, c.code)
		}
	}
}

func TestReleaseLetsGoOfALargeMessage(t *testing.T) {
	t.Parallel()
	r := ws.NewReader(maxMessage, nil)
	_, ev, err := r.Next(fin(ws.Binary, strings.Repeat("x", 1<<16)))
	require.NoError(t, err)
	require.True(t, ev.Exists)
	r.Release()
	require.Zero(t, r.Buffered())
	_, ev, err = r.Next(fin(ws.Text, "next"))
	require.NoError(t, err)
	require.Equal(t, "next", string(ev.Data))
}

func TestServerFrames(t *testing.T) {
	t.Parallel()
	require.Equal(t, "\x81\x02hi", string(ws.AppendFrame(nil, ws.Text, []byte("hi"), false)))
	require.Equal(t, "\xc2\x00", string(ws.AppendFrame(nil, ws.Binary, nil, true)))
	require.Equal(t, "\x82\x7e\x00\x7e", string(ws.AppendFrame(nil, ws.Binary, make([]byte, 126), false)[:4]))
	require.Equal(t, "\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00", string(ws.AppendFrame(nil, ws.Binary, make([]byte, 1<<16), false)[:10]))
	require.Equal(t, "\x88\x00", string(ws.AppendClose(nil, ws.CodeNoStatus, "")))
	require.Equal(t, "\x88\x05\x03\xf4bye", string(ws.AppendClose(nil, ws.CodeServiceRestart, "bye")))
	long := ws.AppendClose(nil, ws.CodeNormal, strings.Repeat("é", 100))
	require.Len(t, long, 2+2+122)
}

func TestShake(t *testing.T) {
	t.Parallel()
	good := map[string]string{
		"Connection": "keep-alive, Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
		"Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Protocol": "chat, voicemill.v1.json",
		"Sec-WebSocket-Extensions": "x-other, permessage-deflate; client_max_window_bits",
	}
	with := func(name, value string) func(string) string {
		return func(asked string) string {
			if asked == name {
				return value
			}
			return good[asked]
		}
	}
	hs, err := ws.Shake("GET", with("", ""), []string{"voicemill.v1.proto", "voicemill.v1.json"})
	require.NoError(t, err)
	require.Equal(t, ws.Handshake{Accept: "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", Subprotocol: "voicemill.v1.json", Deflate: true}, hs)

	for name, c := range map[string]struct {
		method string
		header func(string) string
		status int
	}{
		"POST":          {"POST", with("", ""), 400},
		"no upgrade":    {"GET", with("Connection", "keep-alive"), 400},
		"another":       {"GET", with("Upgrade", "h2c"), 400},
		"version 8":     {"GET", with("Sec-WebSocket-Version", "8"), 426},
		"a short key":   {"GET", with("Sec-WebSocket-Key", "c2hvcnQ="), 400},
		"a broken key":  {"GET", with("Sec-WebSocket-Key", "!!"), 400},
		"no key at all": {"GET", with("Sec-WebSocket-Key", ""), 400},
	} {
		_, err := ws.Shake(c.method, c.header, nil)
		var he *ws.HandshakeError
		if !errors.As(err, &he) || he.Status != c.status {
			t.Errorf("%s: %v; want status %d", name, err, c.status)
		}
	}
}

func TestOffersDeflate(t *testing.T) {
	t.Parallel()
	for offer, want := range map[string]bool{
		"":                   false,
		"permessage-deflate": true,
		"permessage-deflate; client_max_window_bits":                                                            true,
		"permessage-deflate; server_max_window_bits=15":                                                         true,
		"permessage-deflate; server_max_window_bits=9":                                                          false,
		"permessage-deflate; server_max_window_bits=9, permessage-deflate":                                      true,
		"permessage-deflate; server_no_context_takeover; server_no_context_takeover":                            false,
		"permessage-deflate; unknown":                                                                           false,
		"permessage-bzip2":                                                                                      false,
		"permessage-deflate; client_no_context_takeover=1":                                                      false,
		"permessage-deflate; client_no_context_takeover; server_no_context_takeover; client_max_window_bits=10": true,
	} {
		if got := ws.OffersDeflate(offer); got != want {
			t.Errorf("OffersDeflate(%q) = %t; want %t", offer, got, want)
		}
	}
}

func FuzzReader(f *testing.F) {
	cases := corpus.WebSocket()
	for _, name := range slices.Sorted(maps.Keys(cases)) {
		if c := cases[name]; len(c.Input) < 200 {
			f.Add(c.Input, 3)
		}
	}
	f.Fuzz(func(t *testing.T, input []byte, step int) {
		step = min(max(step, 1), 1<<16)
		const limit = 1 << 12
		whole, wholeCode := play(ws.NewReader(limit, nil), bytes.Clone(input), len(input)+1)
		cut, cutCode := play(ws.NewReader(limit, nil), bytes.Clone(input), step)
		if strings.Join(whole, "\n") != strings.Join(cut, "\n") || wholeCode != cutCode {
			t.Fatalf("whole: %q, %d; in steps of %d: %q, %d", whole, wholeCode, step, cut, cutCode)
		}
		for _, ev := range whole {
			if len(ev) > limit+16 {
				t.Fatalf("an event of %d bytes passed the limit", len(ev))
			}
		}
		play(ws.NewReader(limit, ws.NewInflater()), bytes.Clone(input), step) // must not panic
	})
}

func BenchmarkReader(b *testing.B) {
	src := fin(ws.Text, strings.Repeat("x", 125))
	in := make([]byte, len(src))
	r := ws.NewReader(maxMessage, nil)
	b.ReportAllocs()
	for b.Loop() {
		copy(in, src)
		if _, ev, err := r.Next(in); err != nil || !ev.Exists {
			b.Fatal(err)
		}
	}
}
