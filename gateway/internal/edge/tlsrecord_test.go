package edge_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"testing"

	"github.com/voicemill/voicemill/gateway/internal/edge"
	"github.com/voicemill/voicemill/platform/testkit/tlsrecord"
)

const (
	typeAlert     = tlsrecord.Alert
	typeHandshake = tlsrecord.Handshake
	typeData      = tlsrecord.Data
	msgKeyUpdate  = tlsrecord.KeyUpdate
)

var errAlert = errors.New("fatal alert")

// records writes and reads TLS 1.3 records one by one, which crypto/tls's
// client does not let a test do.
type records struct {
	t       testing.TB
	conn    *client
	out, in *tlsrecord.Half
	plain   []byte
	updates int // KeyUpdate messages that came
}

// handshakeThenRecords does the handshake with crypto/tls and goes on by hand.
func handshakeThenRecords(d *door, a *authority) *records {
	t := d.t
	t.Helper()
	raw := d.dial()
	var keys bytes.Buffer
	tc := tls.Client(raw.TCPConn, &tls.Config{RootCAs: a.pool, ServerName: "h", MinVersion: tls.VersionTLS13, KeyLogWriter: &keys})
	if err := tc.HandshakeContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s := tc.ConnectionState().CipherSuite; s != tls.TLS_AES_128_GCM_SHA256 {
		t.Fatalf("cipher suite is %s", tls.CipherSuiteName(s))
	}
	out, in, err := tlsrecord.FromKeyLog(keys.String())
	if err != nil {
		t.Fatal(err)
	}
	return &records{t: t, conn: raw, out: out, in: in}
}

// update changes the keys of one direction.
func (r *records) update(h *tlsrecord.Half) {
	r.t.Helper()
	if err := h.Update(); err != nil {
		r.t.Fatal(err)
	}
}

func (r *records) seal(kind byte, payload []byte) []byte { return r.out.Seal(kind, payload) }

// keyUpdate sends a KeyUpdate in pieces and changes the keys.
func (r *records) keyUpdate(reply bool, pieces int) {
	msg := []byte{msgKeyUpdate, 0, 0, 1, 0}
	if reply {
		msg[4] = 1
	}
	size := (len(msg) + pieces - 1) / pieces
	for at := 0; at < len(msg); at += size {
		r.conn.send(string(r.seal(typeHandshake, msg[at:min(at+size, len(msg))])))
	}
	r.update(r.out)
}

// Read yields the application data that comes.
func (r *records) Read(p []byte) (int, error) {
	for len(r.plain) == 0 {
		if err := r.open(); err != nil {
			return 0, err
		}
	}
	n := copy(p, r.plain)
	r.plain = r.plain[n:]
	return n, nil
}

func (r *records) open() error {
	var header [tlsrecord.HeaderBytes]byte
	if _, err := io.ReadFull(r.conn.r, header[:]); err != nil {
		return err
	}
	body := make([]byte, binary.BigEndian.Uint16(header[3:]))
	if _, err := io.ReadFull(r.conn.r, body); err != nil {
		return err
	}
	kind, inner, err := r.in.Open(header[:], body)
	if err != nil {
		return err
	}
	switch {
	case kind == typeData:
		r.plain = inner
	case kind == typeHandshake && inner[0] == msgKeyUpdate:
		r.updates++
		r.update(r.in)
	case kind == typeHandshake && inner[0] == tlsrecord.Ticket:
	case kind == typeAlert && inner[1] == 0:
		return io.EOF
	case kind == typeAlert:
		return fmt.Errorf("%w %d", errAlert, inner[1])
	default:
		return fmt.Errorf("unexpected record of type %d: %x", kind, inner)
	}
	return nil
}

func TestKeysMayBeUpdatedAtAnyTime(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	d := open(t, edge.Config{TLS: &edge.TLS{Certificates: []edge.CertificateFiles{a.issue("h", "h")}}}, echo)
	for name, test := range map[string]struct {
		reply  bool
		pieces int
	}{
		"without reply":            {false, 1},
		"with reply":               {true, 1},
		"in five records":          {true, 5},
		"in two records, no reply": {false, 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := handshakeThenRecords(d, a)
			answers := bufio.NewReader(r)
			for i := range 5 {
				request := []byte(fmt.Sprintf("GET /%d HTTP/1.1\r\nHost: h\r\n\r\n", i))
				r.conn.send(string(r.seal(typeData, request[:10])))
				r.keyUpdate(test.reply, test.pieces)
				for _, b := range request[10:] { // one record a byte
					r.conn.send(string(r.seal(typeData, []byte{b})))
				}
				resp, err := http.ReadResponse(answers, nil)
				if err != nil {
					t.Fatal(err)
				}
				b, err := io.ReadAll(resp.Body)
				_ = resp.Body.Close()
				if err != nil || string(b) != fmt.Sprintf("GET /%d ", i) {
					t.Fatalf("answer %d is %q, %v", i, b, err)
				}
				if want := i + 1; test.reply && r.updates != want || !test.reply && r.updates != 0 {
					t.Fatalf("%d KeyUpdates came back after %d were sent", r.updates, want)
				}
			}
			r.conn.send(string(r.seal(typeAlert, []byte{1, 0}))) // close_notify
			if b, err := answers.ReadByte(); err != io.EOF {
				t.Errorf("after close_notify: %q, %v", b, err)
			}
		})
	}
}

func TestUselessRecordsEndWithAnAlert(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	certificates := []edge.CertificateFiles{a.issue("h", "h")}
	doors := map[string]*door{
		"http":     open(t, edge.Config{TLS: &edge.TLS{Certificates: certificates}}, echo),
		"sniffing": open(t, edge.Config{TLS: &edge.TLS{Certificates: certificates}, Frames: func(*edge.Conn) edge.ConnHandler { return nil }}, echo),
	}
	for name, flood := range map[string]func(r *records) []byte{
		"key updates": func(r *records) []byte {
			b := r.seal(typeHandshake, []byte{msgKeyUpdate, 0, 0, 1, 1})
			r.update(r.out)
			return b
		},
		"empty records":      func(r *records) []byte { return r.seal(typeData, nil) },
		"corrupt record":     func(r *records) []byte { b := r.seal(typeData, []byte(get)); b[9] ^= 1; return b },
		"oversized record":   func(*records) []byte { return append([]byte{typeData, 3, 3, 0xff, 0xff}, make([]byte, 70_000)...) },
		"second ClientHello": func(r *records) []byte { return r.seal(typeHandshake, []byte{1, 0, 0, 4, 3, 3, 0, 0}) },
		"plain alert":        func(*records) []byte { return []byte{typeAlert, 3, 3, 0, 2, 2, 40} },
	} {
		for state, d := range doors {
			t.Run(name+" while "+state, func(t *testing.T) {
				t.Parallel()
				r := handshakeThenRecords(d, a)
				for range 100 {
					if _, err := r.conn.Write(flood(r)); err != nil {
						break
					}
				}
				var err error
				for err == nil {
					err = r.open()
				}
				if !errors.Is(err, errAlert) && name != "plain alert" {
					t.Errorf("the connection ended with %v; want an alert", err)
				}
			})
		}
	}
}
