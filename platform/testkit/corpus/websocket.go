package corpus

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
)

// Opcode says what a WebSocket frame is.
type Opcode byte

// The opcodes of RFC 6455 section 5.2.
const (
	Continuation Opcode = 0x0
	Text         Opcode = 0x1
	Binary       Opcode = 0x2
	Close        Opcode = 0x8
	Ping         Opcode = 0x9
	Pong         Opcode = 0xA
)

// The close codes of RFC 6455 section 7.4.1 that a server answers cases with.
const (
	noCode         = 1005
	protocolError  = 1002
	invalidPayload = 1007
	tooBig         = 1009
)

// MaxMessage is the largest message that a server of the cases takes, in bytes.
const MaxMessage = 1 << 20

// Event is a whole message, a ping, a pong or a close.
type Event struct {
	Op   Opcode
	Data string
	Code int // of a close
}

// Exchange is the byte stream of a WebSocket client after the handshake and what
// a server must make of it: the events, then the code of the close with which it
// refuses what follows, 0 if there is nothing to refuse.
type Exchange struct {
	Input []byte
	Want  []Event
	Code  int
}

// WebSocket returns cases written from RFC 6455; each name begins with its
// section.
func WebSocket() map[string]Exchange {
	cases := map[string]Exchange{}
	add := func(name string, c Exchange) {
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

// Frame builds the masked frame of a client; first is its first byte.
func Frame(first byte, payload []byte) []byte {
	b := []byte{first}
	switch n := len(payload); {
	case n < 126:
		b = append(b, 0x80|byte(n))
	case n < 1<<16:
		b = append(b, 0x80|126, byte(n>>8), byte(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 0x80|127), uint64(n))
	}
	b = append(b, maskKey...)
	for i, c := range payload {
		b = append(b, c^maskKey[i&3])
	}
	return b
}

const maskKey = "\x37\xfa\x21\x3d"

// Final is a client's last or only frame of a message.
func Final(op Opcode, payload string) []byte { return Frame(0x80|byte(op), []byte(payload)) }

// Part is a client's frame that others of the same message follow.
func Part(op Opcode, payload string) []byte { return Frame(byte(op), []byte(payload)) }

// Closing is a client's close frame.
func Closing(code int, reason string) []byte {
	return Frame(0x88, append(binary.BigEndian.AppendUint16(nil, uint16(code)), reason...)) //nolint:gosec // cases with others are meant so
}

func join(frames ...[]byte) []byte { return bytes.Join(frames, nil) }

func said(op Opcode, data string) Event { return Event{Op: op, Data: data} }

func closed(code int, reason string) Event { return Event{Op: Close, Data: reason, Code: code} }

func addLengths(add func(string, Exchange)) {
	for _, op := range []Opcode{Text, Binary} {
		for _, n := range []int{0, 1, 2, 7, 8, 9, 124, 125, 126, 127, 128, 255, 256, 1000, 4096, 65534, 65535, 65536, 65537, MaxMessage} {
			text := strings.Repeat("*", n)
			add(fmt.Sprintf("5.2 message of %d bytes, opcode %d", n, op), Exchange{Input: Final(op, text), Want: []Event{said(op, text)}})
		}
		big := Frame(0x80|byte(op), make([]byte, 200))
		add(fmt.Sprintf("5.2 length 200 in 64 bits, opcode %d", op), Exchange{
			Input: join([]byte{0x80 | byte(op), 0xff, 0, 0, 0, 0, 0, 0, 0, 200}, big[4:]), Code: protocolError,
		})
		add(fmt.Sprintf("5.2 length 100 in 16 bits, opcode %d", op), Exchange{
			Input: join([]byte{0x80 | byte(op), 0xfe, 0, 100}, big[4:]), Code: protocolError,
		})
		add(fmt.Sprintf("5.2 length with the top bit set, opcode %d", op), Exchange{
			Input: join([]byte{0x80 | byte(op), 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0}, []byte(maskKey)), Code: protocolError,
		})
		add(fmt.Sprintf("10.4 message over the limit, opcode %d", op), Exchange{
			Input: Final(op, strings.Repeat("x", MaxMessage+1)), Code: tooBig,
		})
		add(fmt.Sprintf("10.4 fragments over the limit, opcode %d", op), Exchange{
			Input: join(Part(op, strings.Repeat("x", MaxMessage)), Final(Continuation, "x")), Code: tooBig,
		})
		add(fmt.Sprintf("5.1 unmasked, opcode %d", op), Exchange{Input: []byte{0x80 | byte(op), 2, 'h', 'i'}, Code: protocolError})
	}
}

func addReserved(add func(string, Exchange)) {
	for rsv := byte(1); rsv < 8; rsv++ {
		for _, op := range []Opcode{Text, Binary, Ping, Pong, Close} {
			add(fmt.Sprintf("5.2 reserved bits %03b, opcode %d", rsv, op), Exchange{
				Input: Frame(0x80|rsv<<4|byte(op), nil), Code: protocolError,
			})
		}
	}
	for _, op := range []byte{3, 4, 5, 6, 7, 11, 12, 13, 14, 15} {
		add(fmt.Sprintf("5.2 reserved opcode %d", op), Exchange{Input: Frame(0x80|op, nil), Code: protocolError})
		add(fmt.Sprintf("5.2 reserved opcode %d with payload after a message", op), Exchange{
			Input: join(Final(Text, "ok"), Frame(0x80|op, []byte("x"))), Want: []Event{said(Text, "ok")}, Code: protocolError,
		})
	}
}

func addControl(add func(string, Exchange)) {
	for _, op := range []Opcode{Ping, Pong} {
		for _, n := range []int{0, 1, 17, 124, 125} {
			data := strings.Repeat("\xfe", n)
			add(fmt.Sprintf("5.5.2 opcode %d of %d bytes", op, n), Exchange{Input: Final(op, data), Want: []Event{said(op, data)}})
		}
		for _, n := range []int{126, 127, 65536} {
			add(fmt.Sprintf("5.5 opcode %d of %d bytes", op, n), Exchange{Input: Final(op, strings.Repeat("a", n)), Code: protocolError})
		}
		add(fmt.Sprintf("5.5 fragmented opcode %d", op), Exchange{Input: Part(op, "x"), Code: protocolError})
		add(fmt.Sprintf("5.1 unmasked opcode %d", op), Exchange{Input: []byte{0x80 | byte(op), 0}, Code: protocolError})
		ten := bytes.Repeat(Final(op, "again"), 10)
		add(fmt.Sprintf("5.5.2 ten of opcode %d", op), Exchange{Input: ten, Want: slices.Repeat([]Event{said(op, "again")}, 10)})
	}
}

func addFragments(add func(string, Exchange)) {
	for _, op := range []Opcode{Text, Binary} {
		for n := 2; n <= 10; n++ {
			input := Part(op, "0")
			want := "0"
			for i := 1; i < n-1; i++ {
				input, want = join(input, Part(Continuation, fmt.Sprint(i))), want+fmt.Sprint(i)
			}
			add(fmt.Sprintf("5.4 %d fragments, opcode %d", n, op), Exchange{
				Input: join(input, Final(Continuation, "end")), Want: []Event{said(op, want+"end")},
			})
		}
		add(fmt.Sprintf("5.4 ping between fragments, opcode %d", op), Exchange{
			Input: join(Part(op, "a"), Final(Ping, "p"), Final(Continuation, "b")),
			Want:  []Event{said(Ping, "p"), said(op, "ab")},
		})
		add(fmt.Sprintf("5.4 two pings and a pong between fragments, opcode %d", op), Exchange{
			Input: join(Part(op, "a"), Final(Ping, "1"), Part(Continuation, "b"), Final(Ping, "2"), Final(Pong, "3"), Final(Continuation, "c")),
			Want:  []Event{said(Ping, "1"), said(Ping, "2"), said(Pong, "3"), said(op, "abc")},
		})
		add(fmt.Sprintf("5.4 empty fragments, opcode %d", op), Exchange{
			Input: join(Part(op, ""), Part(Continuation, ""), Final(Continuation, "")), Want: []Event{said(op, "")},
		})
		add(fmt.Sprintf("5.4 new message inside a message, opcode %d", op), Exchange{
			Input: join(Part(op, "a"), Final(op, "b")), Code: protocolError,
		})
		add(fmt.Sprintf("5.4 continuation after a whole message, opcode %d", op), Exchange{
			Input: join(Final(op, "a"), Final(Continuation, "b")), Want: []Event{said(op, "a")}, Code: protocolError,
		})
	}
	add("5.4 continuation first, final", Exchange{Input: Final(Continuation, "x"), Code: protocolError})
	add("5.4 continuation first, not final", Exchange{Input: Part(Continuation, "x"), Code: protocolError})
	add("5.5.1 close inside a message", Exchange{
		Input: join(Part(Text, "a"), Closing(1000, "")), Want: []Event{closed(1000, "")},
	})
}

func addText(add func(string, Exchange)) {
	good := map[string]string{
		"two bytes": "Γειά", "three bytes": "語り手", "four bytes": "🎧", "U+0000": "\x00", "U+007F": "\x7f", "U+0080": "\u0080",
		"U+07FF": "\u07ff", "U+0800": "\u0800", "U+D7FF": "\ud7ff", "U+E000": "\ue000", "U+FFFD": "\ufffd", "U+FFFE": "\ufffe",
		"U+FFFF": "\uffff", "U+10000": "\U00010000", "U+10FFFF": "\U0010ffff", "a byte order mark": "\ufeffx",
	}
	for name, text := range good {
		add("8.1 text with "+name, Exchange{Input: Final(Text, text), Want: []Event{said(Text, text)}})
		var input []byte
		for i := range len(text) {
			op := Continuation
			if i == 0 {
				op = Text
			}
			input = join(input, Part(op, text[i:i+1]))
		}
		add("8.1 one byte a fragment, text with "+name, Exchange{
			Input: join(input, Final(Continuation, "")), Want: []Event{said(Text, text)},
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
		add("8.1 text with "+name, Exchange{Input: Final(Text, "ok "+text), Code: invalidPayload})
		add("8.1 fragmented text with "+name, Exchange{
			Input: join(Part(Text, "ok "), Part(Continuation, text), Final(Continuation, "")), Code: invalidPayload,
		})
		add("5.6 binary with "+name, Exchange{Input: Final(Binary, text), Want: []Event{said(Binary, text)}})
	}
}

func addClose(add func(string, Exchange)) {
	add("5.5.1 close without a code", Exchange{Input: Final(Close, ""), Want: []Event{closed(noCode, "")}})
	add("5.5.1 close with half a code", Exchange{Input: Final(Close, "\x03"), Code: protocolError})
	add("5.5.1 close of 126 bytes", Exchange{Input: Final(Close, strings.Repeat("x", 126)), Code: protocolError})
	add("5.5.1 close with a reason of 123 bytes", Exchange{
		Input: Closing(1000, strings.Repeat("r", 123)), Want: []Event{closed(1000, strings.Repeat("r", 123))},
	})
	add("5.5.1 close with a reason that is not UTF-8", Exchange{Input: Closing(1000, "\xff"), Code: invalidPayload})
	add("5.5.1 data after close", Exchange{
		Input: join(Closing(1000, "bye"), Final(Text, "late"), Final(Ping, "late")), Want: []Event{closed(1000, "bye")},
	})
	add("5.5.1 two closes", Exchange{Input: join(Closing(1001, ""), Closing(1002, "")), Want: []Event{closed(1001, "")}})
	for _, code := range []int{1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999} {
		add(fmt.Sprintf("7.4 close code %d", code), Exchange{Input: Closing(code, "x"), Want: []Event{closed(code, "x")}})
	}
	for _, code := range []int{0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535} {
		add(fmt.Sprintf("7.4 close code %d", code), Exchange{Input: Closing(code, "x"), Code: protocolError})
	}
}
