package ws_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/voicemill/voicemill/gateway/internal/ws"
)

// A wsCase is a client's byte stream and what the server must make of it: the
// events, then the close code of the error, 0 if there is none.
type wsCase struct {
	input []byte
	want  []string
	code  int
}

var mask = [4]byte{0x37, 0xfa, 0x21, 0x3d}

// frame builds a masked client frame; first is the first byte.
func frame(first byte, payload []byte) []byte {
	b := []byte{first}
	switch n := len(payload); {
	case n < 126:
		b = append(b, 0x80|byte(n))
	case n < 1<<16:
		b = append(b, 0x80|126, byte(n>>8), byte(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 0x80|127), uint64(n))
	}
	b = append(b, mask[:]...)
	for i, c := range payload {
		b = append(b, c^mask[i&3])
	}
	return b
}

func fin(op ws.Opcode, payload string) []byte  { return frame(0x80|byte(op), []byte(payload)) }
func part(op ws.Opcode, payload string) []byte { return frame(byte(op), []byte(payload)) }

func join(frames ...[]byte) []byte { return bytes.Join(frames, nil) }

func closing(code int, reason string) []byte {
	return frame(0x88, append(binary.BigEndian.AppendUint16(nil, uint16(code)), reason...))
}

func said(op ws.Opcode, data string) string { return fmt.Sprintf("%x:%s", byte(op), data) }

const maxMessage = 1 << 20

// rfc6455Cases are written from RFC 6455; each name begins with its section.
func rfc6455Cases() map[string]wsCase {
	cases := map[string]wsCase{}
	add := func(name string, c wsCase) {
		if _, twice := cases[name]; twice {
			panic("bug: two cases are called " + name)
		}
		cases[name] = c
	}
	addLengths(add)
	addReserved(add)
	addControl(add)
	addFragments(add)
	addText(add)
	addClose(add)
	return cases
}

func addLengths(add func(string, wsCase)) {
	for _, op := range []ws.Opcode{ws.Text, ws.Binary} {
		for _, n := range []int{0, 1, 2, 7, 8, 9, 124, 125, 126, 127, 128, 255, 256, 1000, 4096, 65534, 65535, 65536, 65537, maxMessage} {
			text := strings.Repeat("*", n)
			add(fmt.Sprintf("5.2 message of %d bytes, opcode %d", n, op), wsCase{input: fin(op, text), want: []string{said(op, text)}})
		}
		big := frame(0x80|byte(op), make([]byte, 200))
		add(fmt.Sprintf("5.2 length 200 in 64 bits, opcode %d", op), wsCase{
			input: join([]byte{0x80 | byte(op), 0xff, 0, 0, 0, 0, 0, 0, 0, 200}, big[4:]), code: ws.CodeProtocolError,
		})
		add(fmt.Sprintf("5.2 length 100 in 16 bits, opcode %d", op), wsCase{
			input: join([]byte{0x80 | byte(op), 0xfe, 0, 100}, big[4:]), code: ws.CodeProtocolError,
		})
		add(fmt.Sprintf("5.2 length with the top bit set, opcode %d", op), wsCase{
			input: join([]byte{0x80 | byte(op), 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0}, mask[:]), code: ws.CodeProtocolError,
		})
		add(fmt.Sprintf("10.4 message over the limit, opcode %d", op), wsCase{
			input: fin(op, strings.Repeat("x", maxMessage+1)), code: ws.CodeTooBig,
		})
		add(fmt.Sprintf("10.4 fragments over the limit, opcode %d", op), wsCase{
			input: join(part(op, strings.Repeat("x", maxMessage)), fin(ws.Continuation, "x")), code: ws.CodeTooBig,
		})
		add(fmt.Sprintf("5.1 unmasked, opcode %d", op), wsCase{input: []byte{0x80 | byte(op), 2, 'h', 'i'}, code: ws.CodeProtocolError})
	}
}

func addReserved(add func(string, wsCase)) {
	for rsv := byte(1); rsv < 8; rsv++ {
		for _, op := range []ws.Opcode{ws.Text, ws.Binary, ws.Ping, ws.Pong, ws.Close} {
			add(fmt.Sprintf("5.2 reserved bits %03b, opcode %d", rsv, op), wsCase{
				input: frame(0x80|rsv<<4|byte(op), nil), code: ws.CodeProtocolError,
			})
		}
	}
	for _, op := range []byte{3, 4, 5, 6, 7, 11, 12, 13, 14, 15} {
		add(fmt.Sprintf("5.2 reserved opcode %d", op), wsCase{input: frame(0x80|op, nil), code: ws.CodeProtocolError})
		add(fmt.Sprintf("5.2 reserved opcode %d with payload after a message", op), wsCase{
			input: join(fin(ws.Text, "ok"), frame(0x80|op, []byte("x"))), want: []string{said(ws.Text, "ok")}, code: ws.CodeProtocolError,
		})
	}
}

func addControl(add func(string, wsCase)) {
	for _, op := range []ws.Opcode{ws.Ping, ws.Pong} {
		for _, n := range []int{0, 1, 17, 124, 125} {
			data := strings.Repeat("\xfe", n)
			add(fmt.Sprintf("5.5.2 opcode %d of %d bytes", op, n), wsCase{input: fin(op, data), want: []string{said(op, data)}})
		}
		for _, n := range []int{126, 127, 65536} {
			add(fmt.Sprintf("5.5 opcode %d of %d bytes", op, n), wsCase{input: fin(op, strings.Repeat("a", n)), code: ws.CodeProtocolError})
		}
		add(fmt.Sprintf("5.5 fragmented opcode %d", op), wsCase{input: part(op, "x"), code: ws.CodeProtocolError})
		add(fmt.Sprintf("5.1 unmasked opcode %d", op), wsCase{input: []byte{0x80 | byte(op), 0}, code: ws.CodeProtocolError})
		ten := bytes.Repeat(fin(op, "again"), 10)
		add(fmt.Sprintf("5.5.2 ten of opcode %d", op), wsCase{input: ten, want: strings.Split(strings.Repeat(said(op, "again")+"\n", 9)+said(op, "again"), "\n")})
	}
}

func addFragments(add func(string, wsCase)) {
	for _, op := range []ws.Opcode{ws.Text, ws.Binary} {
		for n := 2; n <= 10; n++ {
			input := part(op, "0")
			want := "0"
			for i := 1; i < n-1; i++ {
				input, want = join(input, part(ws.Continuation, fmt.Sprint(i))), want+fmt.Sprint(i)
			}
			add(fmt.Sprintf("5.4 %d fragments, opcode %d", n, op), wsCase{
				input: join(input, fin(ws.Continuation, "end")), want: []string{said(op, want+"end")},
			})
		}
		add(fmt.Sprintf("5.4 ping between fragments, opcode %d", op), wsCase{
			input: join(part(op, "a"), fin(ws.Ping, "p"), fin(ws.Continuation, "b")),
			want:  []string{said(ws.Ping, "p"), said(op, "ab")},
		})
		add(fmt.Sprintf("5.4 two pings and a pong between fragments, opcode %d", op), wsCase{
			input: join(part(op, "a"), fin(ws.Ping, "1"), part(ws.Continuation, "b"), fin(ws.Ping, "2"), fin(ws.Pong, "3"), fin(ws.Continuation, "c")),
			want:  []string{said(ws.Ping, "1"), said(ws.Ping, "2"), said(ws.Pong, "3"), said(op, "abc")},
		})
		add(fmt.Sprintf("5.4 empty fragments, opcode %d", op), wsCase{
			input: join(part(op, ""), part(ws.Continuation, ""), fin(ws.Continuation, "")), want: []string{said(op, "")},
		})
		add(fmt.Sprintf("5.4 new message inside a message, opcode %d", op), wsCase{
			input: join(part(op, "a"), fin(op, "b")), code: ws.CodeProtocolError,
		})
		add(fmt.Sprintf("5.4 continuation after a whole message, opcode %d", op), wsCase{
			input: join(fin(op, "a"), fin(ws.Continuation, "b")), want: []string{said(op, "a")}, code: ws.CodeProtocolError,
		})
	}
	add("5.4 continuation first, final", wsCase{input: fin(ws.Continuation, "x"), code: ws.CodeProtocolError})
	add("5.4 continuation first, not final", wsCase{input: part(ws.Continuation, "x"), code: ws.CodeProtocolError})
	add("5.5.1 close inside a message", wsCase{
		input: join(part(ws.Text, "a"), closing(1000, "")), want: []string{said(ws.Close, "1000 ")},
	})
}

func addText(add func(string, wsCase)) {
	good := map[string]string{
		"two bytes": "Γειά", "three bytes": "語り手", "four bytes": "🎧", "U+0000": "\x00", "U+007F": "\x7f", "U+0080": "\u0080",
		"U+07FF": "\u07ff", "U+0800": "\u0800", "U+D7FF": "\ud7ff", "U+E000": "\ue000", "U+FFFD": "\ufffd", "U+FFFE": "\ufffe",
		"U+FFFF": "\uffff", "U+10000": "\U00010000", "U+10FFFF": "\U0010ffff", "a byte order mark": "\ufeffx",
	}
	for name, text := range good {
		add("8.1 text with "+name, wsCase{input: fin(ws.Text, text), want: []string{said(ws.Text, text)}})
		var input []byte
		for i := range len(text) {
			op := ws.Continuation
			if i == 0 {
				op = ws.Text
			}
			input = join(input, part(op, text[i:i+1]))
		}
		add("8.1 one byte a fragment, text with "+name, wsCase{
			input: join(input, fin(ws.Continuation, "")), want: []string{said(ws.Text, text)},
		})
	}
	bad := map[string]string{
		"a lone continuation byte": "\x80", "a lone 0xbf": "\xbf", "two continuation bytes": "\x80\xbf", "0xfe": "\xfe", "0xff": "\xff",
		"an overlong slash of two": "\xc0\xaf", "an overlong slash of three": "\xe0\x80\xaf", "an overlong slash of four": "\xf0\x80\x80\xaf",
		"an overlong NUL": "\xc0\x80", "U+D800": "\xed\xa0\x80", "U+DFFF": "\xed\xbf\xbf", "a surrogate pair": "\xed\xa0\x80\xed\xb0\x80",
		"U+110000": "\xf4\x90\x80\x80", "five bytes": "\xf8\x88\x80\x80\x80", "six bytes": "\xfc\x84\x80\x80\x80\x80",
		"a broken two": "\xc3(", "a broken three": "\xe2\x28\xa1", "a broken four": "\xf0\x28\x8c\xbc", "Latin-1": "caf\xe9 noir",
		"a cut two": "\xc3", "a cut three": "\xe2\x82", "a cut four": "\xf0\x9f\x8e",
	}
	for name, text := range bad {
		add("8.1 text with "+name, wsCase{input: fin(ws.Text, "ok "+text), code: ws.CodeInvalidPayload})
		add("8.1 fragmented text with "+name, wsCase{
			input: join(part(ws.Text, "ok "), part(ws.Continuation, text), fin(ws.Continuation, "")), code: ws.CodeInvalidPayload,
		})
		add("5.6 binary with "+name, wsCase{input: fin(ws.Binary, text), want: []string{said(ws.Binary, text)}})
	}
}

func addClose(add func(string, wsCase)) {
	add("5.5.1 close without a code", wsCase{input: fin(ws.Close, ""), want: []string{said(ws.Close, "1005 ")}})
	add("5.5.1 close with half a code", wsCase{input: fin(ws.Close, "\x03"), code: ws.CodeProtocolError})
	add("5.5.1 close of 126 bytes", wsCase{input: fin(ws.Close, strings.Repeat("x", 126)), code: ws.CodeProtocolError})
	add("5.5.1 close with a reason of 123 bytes", wsCase{
		input: closing(1000, strings.Repeat("r", 123)), want: []string{said(ws.Close, "1000 "+strings.Repeat("r", 123))},
	})
	add("5.5.1 close with a reason that is not UTF-8", wsCase{input: closing(1000, "\xff"), code: ws.CodeInvalidPayload})
	add("5.5.1 data after close", wsCase{
		input: join(closing(1000, "bye"), fin(ws.Text, "late"), fin(ws.Ping, "late")), want: []string{said(ws.Close, "1000 bye")},
	})
	add("5.5.1 two closes", wsCase{input: join(closing(1001, ""), closing(1002, "")), want: []string{said(ws.Close, "1001 ")}})
	for _, code := range []int{1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999} {
		add(fmt.Sprintf("7.4 close code %d", code), wsCase{input: closing(code, "x"), want: []string{said(ws.Close, fmt.Sprintf("%d x", code))}})
	}
	for _, code := range []int{0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535} {
		add(fmt.Sprintf("7.4 close code %d", code), wsCase{input: closing(code, "x"), code: ws.CodeProtocolError})
	}
}
