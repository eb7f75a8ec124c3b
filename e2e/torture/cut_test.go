package torture_test

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/voicemill/voicemill/platform/testkit/corpus"
)

// exchanges are what clients send whole. Cut anywhere, they must not harm.
func (g *target) exchanges(t *testing.T) map[string][]byte {
	t.Helper()
	uploads := map[string][]byte{}
	if g.full { // the connections to the bucket that they leave are kept for a minute and a half
		uploads["chunked upload"] = []byte(g.request(g.place(t), "", "Content-Type: text/plain", "Transfer-Encoding: chunked") + "c\r\nIt was late.\r\n0\r\n\r\n")
		uploads["sized upload"] = []byte(g.request(g.place(t), "", "Content-Type: text/plain", "Content-Length: 12") + "It was late.")
	}
	submit := `{"input":{"text":"A line that was cut."},"language":"en"}`
	chunked, lines := "Transfer-Encoding: chunked", "Content-Type: application/x-ndjson"
	all := map[string][]byte{
		"GET":           []byte(g.status()),
		"two GETs":      []byte(g.status() + g.status()),
		"sized POST":    []byte(g.request("POST /v1/jobs HTTP/1.1", submit, "Idempotency-Key: sized")),
		"chunked POST":  []byte(g.request("POST /v1/jobs HTTP/1.1", "", "Content-Type: application/json", "Idempotency-Key: chunked", chunked) + fmt.Sprintf("%x;a=b\r\n%s\r\n0\r\nX: y\r\n\r\n", len(submit), submit)),
		"chunked batch": []byte(g.request("POST /v1/jobs:batch HTTP/1.1", "", lines, "Idempotency-Key: batch", chunked) + fmt.Sprintf("%x\r\n%s\r\n4\r\n\nx{\n\r\n0\r\n\r\n", len(submit), submit)),
		"sized batch":   []byte(g.request("POST /v1/jobs:batch HTTP/1.1", "", lines, "Idempotency-Key: lines", fmt.Sprintf("Content-Length: %d", len(submit)+6)) + submit + "\nx\n{}\n"),
		"WebSocket": bytes.Join([][]byte{
			[]byte(g.upgrade(subJSON)), corpus.Part(corpus.Text, `{"stream":1,"get"`), corpus.Final(corpus.Ping, "p"),
			corpus.Final(corpus.Continuation, fmt.Sprintf(`:{"id":%q}}`, g.job)), corpus.Closing(closeNormal, "bye"),
		}, nil),
		"frames": bytes.Join([][]byte{[]byte("VML1"), g.hello(), getFrame(string(g.job))}, nil),
	}
	maps.Copy(all, uploads)
	return all
}

// field is a length-delimited field of a protobuf message.
func field(number int, value []byte) []byte {
	b := binary.AppendUvarint(nil, uint64(number)<<3|2) //nolint:gosec // a field's number
	return append(binary.AppendUvarint(b, uint64(len(value))), value...)
}

// framed puts the length before a frame.
func framed(message []byte) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(message))), message...) //nolint:gosec // a few bytes
}

// The frames of docs/protocols.md that tests spell by hand.
func (g *target) hello() []byte { return framed(field(2, field(1, []byte("Bearer "+g.s.Key)))) }

func getFrame(id string) []byte {
	return framed(append([]byte{1 << 3, 1}, field(5, field(1, []byte(id)))...))
}

// cut ends every exchange at every byte, by the end of output and by a reset.
func cut(t *testing.T, g *target) (cases int) {
	t.Helper()
	type where struct {
		exchange string
		at       int
		reset    bool
	}
	step := 7
	if g.full {
		step = 1
	}
	exchanges, all := g.exchanges(t), map[string]where{}
	lengths := map[string]int{"TLS": g.handshakeBytes(t)}
	for name, b := range exchanges {
		lengths[name] = len(b)
	}
	for name, n := range lengths {
		for at := n; at >= 0; at -= step {
			all[fmt.Sprintf("%s, the end after %04d bytes", name, at)] = where{name, at, false}
			all[fmt.Sprintf("%s, reset after %04d bytes", name, at)] = where{name, at, true}
		}
	}
	each(t, all, func(_ string, w where) error {
		if w.exchange == "TLS" {
			return g.cutTLS(w.at, w.reset)
		}
		return g.cutPlain(exchanges[w.exchange][:w.at], w.reset, strings.HasSuffix(w.exchange, "batch"))
	})
	return len(all)
}

// cutPlain sends the beginning of an exchange. The answer to a batch begins with its
// first lines; if the rest does not come, that answer is reset, so that nobody
// takes it for a whole one.
func (g *target) cutPlain(sent []byte, reset, batch bool) error {
	conn, err := g.dial()
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	if _, err := conn.Write(sent); err != nil {
		return err
	}
	if reset {
		return conn.SetLinger(0)
	}
	if err := conn.CloseWrite(); err != nil {
		return err
	}
	b, err := io.ReadAll(conn)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return errors.New("the connection did not end")
	}
	if begun := batch && bytes.HasPrefix(b, []byte("HTTP/1.1 200 ")); errors.Is(err, syscall.ECONNRESET) && !begun {
		return fmt.Errorf("reset, after %d bytes came", len(b))
	} else if begun {
		return nil
	}
	return err
}

// scissors is a connection that ends after so many bytes were sent.
type scissors struct {
	net.Conn
	left, sent int
}

var errCut = errors.New("cut here")

func (s *scissors) Write(p []byte) (int, error) {
	n := min(len(p), s.left)
	if n > 0 {
		if _, err := s.Conn.Write(p[:n]); err != nil {
			return 0, err
		}
	}
	s.left -= n
	s.sent += n
	if n == len(p) {
		return n, nil
	}
	return n, errCut
}

// handshakeBytes is what a client sends for a handshake and one request.
func (g *target) handshakeBytes(t *testing.T) int {
	t.Helper()
	conn, err := g.dial()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	s := &scissors{Conn: conn, left: 1 << 20}
	c := tls.Client(s, g.tls)
	if _, err := io.WriteString(c, g.status("Connection: close")); err != nil {
		t.Fatal(err)
	}
	if answers, err := readAnswers(c); err != nil || len(answers) != 1 {
		t.Fatalf("%d answers over TLS, %v", len(answers), err)
	}
	return s.sent
}

func (g *target) cutTLS(at int, reset bool) error {
	conn, err := g.dial()
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	c := tls.Client(&scissors{Conn: conn, left: at}, g.tls)
	if _, err := io.WriteString(c, g.status("Connection: close")); err != nil && !errors.Is(err, errCut) {
		return err
	}
	if reset {
		return conn.SetLinger(0)
	}
	if err := conn.CloseWrite(); err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, conn); errors.Is(err, os.ErrDeadlineExceeded) {
		return errors.New("the connection did not end")
	}
	return nil
}
