package torture_test

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/voicemill/voicemill/platform/testkit/corpus"
)

const (
	subJSON  = "voicemill.v1.json"
	subProto = "voicemill.v1.proto"

	closeNormal  = 1000
	closeNoCode  = 1005
	closeTooBig  = 1009
	shortPayload = 125
)

// notAMessage are the close codes for a WebSocket message that is none of ours:
// docs/protocols.md.
var notAMessage = []int{1002, 1003, 1007}

// speakWebSocket plays the corpus on sessions, and messages that the gateway
// answers, of every length and in every shape.
func speakWebSocket(t *testing.T, g *target) (cases int) {
	t.Helper()
	sessions := map[string]session{}
	for name, c := range corpus.WebSocket() {
		sessions[name] = expect(c)
	}
	addMessages(sessions)
	times := 1
	if g.full {
		times = 3
	}
	each(t, sessions, func(_ string, s session) error {
		for n := range times {
			rng := rand.New(rand.NewPCG(uint64(n), uint64(len(s.input)))) //nolint:gosec // repeatable
			if err := g.play(s, rng); err != nil {
				return err
			}
		}
		return nil
	})
	return len(sessions) * times
}

// session is what a client sends after the handshake and what must come back.
type session struct {
	protocol string
	input    []byte
	answers  []said
	codes    []int // one of which the server closes with
}

// said is a frame of the server's; a message of it need only contain data.
type said struct {
	op   corpus.Opcode
	data string
}

// expect translates a case: pings are echoed, a close is answered by its code,
// a message, which is never one of the API's, ends the session.
func expect(c corpus.Exchange) session {
	s := session{protocol: subJSON, input: c.Input, codes: []int{c.Code}}
	for _, e := range c.Want {
		switch e.Op {
		case corpus.Ping:
			s.answers = append(s.answers, said{corpus.Pong, e.Data})
		case corpus.Close:
			s.codes = []int{e.Code}
			return s
		case corpus.Binary, corpus.Text:
			if e.Op == corpus.Binary {
				s.protocol = subProto
			}
			s.codes = notAMessage
			return s
		default:
		}
	}
	if c.Code == 0 {
		s.input = append(slices.Clone(s.input), corpus.Closing(closeNormal, "")...)
		s.codes = []int{closeNormal}
	}
	return s
}

// addMessages adds sessions of one message that is answered.
func addMessages(to map[string]session) {
	const message = `{"stream":7,"ping":{"data":"語り"}}`
	answer := said{corpus.Text, `"pong":{"data":"語り"}`}
	add := func(name string, frames ...[]byte) {
		to[name] = session{
			protocol: subJSON, input: slices.Concat(append(frames, corpus.Closing(closeNormal, ""))...),
			answers: []said{answer}, codes: []int{closeNormal},
		}
	}
	for _, n := range []int{len(message), 125, 126, 127, 128, 1000, 65535, 65536, 65537, corpus.MaxMessage} {
		padded := strings.Repeat(" ", n-len(message)) + message
		add(fmt.Sprintf("a message of %d bytes", n), corpus.Final(corpus.Text, padded))
		for _, parts := range []int{2, 3, 10, len(message)} {
			size := n/parts + 1
			frames := [][]byte{corpus.Part(corpus.Text, padded[:size])}
			for at := size; at < n; at += size {
				frames = append(frames, corpus.Part(corpus.Continuation, padded[at:min(at+size, n)]))
			}
			add(fmt.Sprintf("a message of %d bytes in %d fragments", n, parts), append(frames, corpus.Final(corpus.Continuation, ""))...)
		}
	}
	add("a message with an empty first fragment", corpus.Part(corpus.Text, ""), corpus.Final(corpus.Continuation, message))
	many := session{protocol: subJSON, codes: []int{closeNormal}}
	for range 200 {
		many.input = append(many.input, corpus.Final(corpus.Text, message)...)
		many.answers = append(many.answers, answer)
	}
	many.input = append(many.input, corpus.Closing(closeNormal, "")...)
	to["200 messages at once"] = many
}

// shake opens a WebSocket.
func (g *target) shake(conn net.Conn, protocol string) (*bufio.Reader, error) {
	if _, err := io.WriteString(conn, g.upgrade(protocol)); err != nil {
		return nil, err
	}
	r := bufio.NewReader(conn)
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		return nil, err
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusSwitchingProtocols {
		return nil, fmt.Errorf("the handshake was answered with %d", resp.StatusCode)
	}
	if f, err := readFrame(r); err != nil || !strings.Contains(f.data, "voicemill") {
		return nil, fmt.Errorf("the greeting is %q, %w", f.data, err)
	}
	return r, nil
}

func (g *target) upgrade(protocol string) string {
	return g.request("GET /v1/connect HTTP/1.1", "", "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13",
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Protocol: "+protocol)
}

func (g *target) play(s session, rng *rand.Rand) error { // rng may be nil
	conn, err := g.dial()
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	r, err := g.shake(conn, s.protocol)
	if err != nil {
		return err
	}
	go func() { // ends with the connection
		_ = inPieces(conn, string(s.input), rng)
	}()
	for i, want := range s.answers {
		f, err := readFrame(r)
		if err != nil || f.op != want.op || !strings.Contains(f.data, want.data) {
			return fmt.Errorf("answer %d is %x %q, %w; want %x %q", i+1, f.op, f.data[:min(len(f.data), 200)], err, want.op, want.data)
		}
	}
	f, err := readFrame(r)
	for err == nil && f.op != corpus.Close { // the session may have said something of its own before
		f, err = readFrame(r)
	}
	if err != nil {
		return fmt.Errorf("no close frame: %w", err)
	}
	code := closeNoCode
	if len(f.data) >= 2 {
		code = int(binary.BigEndian.Uint16([]byte(f.data)))
	}
	if !slices.Contains(s.codes, code) {
		return fmt.Errorf("closed with %d (%s); want one of %d", code, f.data, s.codes)
	}
	if b, err := r.ReadByte(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("after the close frame came %x, %w", b, err)
	}
	return nil
}

// readFrame reads a frame of the server's.
func readFrame(r *bufio.Reader) (said, error) {
	var head [2]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return said{}, err
	}
	n := uint64(head[1])
	switch {
	case head[0]&0xf0 != 0x80 || n&0x80 != 0:
		return said{}, fmt.Errorf("the server sent a frame that begins with %x", head)
	case n > shortPayload:
		long := make([]byte, 2+6*(n-126))
		if _, err := io.ReadFull(r, long); err != nil {
			return said{}, err
		}
		n = binary.BigEndian.Uint64(append(make([]byte, 8-len(long)), long...))
	}
	data := make([]byte, n)
	_, err := io.ReadFull(r, data)
	return said{corpus.Opcode(head[0] & 0xf), string(data)}, err
}
