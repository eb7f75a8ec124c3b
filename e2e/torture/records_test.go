package torture_test

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"testing"

	"github.com/voicemill/voicemill/platform/testkit/tlsrecord"
)

const (
	flood     = 200 // records, more than crypto/tls takes of useless ones
	fewTimes  = 3
	manyTimes = 30
)

// breakRecords speaks broken TLS, during the handshake and after it.
func breakRecords(t *testing.T, g *target) (cases int) {
	t.Helper()
	ordeals := map[string]func() error{
		"a ClientHello in records of one byte": g.fragmentedHello,
		"requests after key updates":           g.updateKeys,
	}
	old := g.tls.Clone()
	old.MinVersion, old.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
	hellos := brokenHellos(clientHello(t, g.tls))
	hellos["a ClientHello of an old version"] = clientHello(t, old)
	for name, raw := range hellos {
		ordeals[name] = func() error { return g.sendBroken(raw) }
	}
	for name, next := range brokenRecords() {
		ordeals[name] = func() error { return g.breakAfterHandshake(next) }
	}
	ordeals["a second handshake in TLS 1.2"] = func() error { return g.renegotiate(true) }
	ordeals["a second handshake in TLS 1.2, in the clear"] = func() error { return g.renegotiate(false) }
	times := fewTimes
	if g.full {
		times = manyTimes
	}
	each(t, ordeals, func(_ string, do func() error) error {
		for range times {
			if err := do(); err != nil {
				return err
			}
		}
		return nil
	})
	return len(ordeals) * times
}

// clientHello returns the first record of a client.
func clientHello(t *testing.T, cfg *tls.Config) []byte {
	t.Helper()
	var b recorder
	_ = tls.Client(&b, cfg).HandshakeContext(t.Context()) // it has nobody to talk to
	if len(b.sent) == 0 {
		t.Fatal("no ClientHello")
	}
	return b.sent
}

// recorder is a connection whose peer says nothing.
type recorder struct {
	net.Conn
	sent []byte
}

func (r *recorder) Write(p []byte) (int, error) { r.sent = append(r.sent, p...); return len(p), nil }
func (r *recorder) Read([]byte) (int, error)    { return 0, io.EOF }
func (r *recorder) Close() error                { return nil }

// brokenHellos are openings that no handshake comes of.
func brokenHellos(hello []byte) map[string][]byte {
	with := func(at int, b ...byte) []byte {
		c := bytes.Clone(hello)
		copy(c[at:], b)
		return c
	}
	alert := []byte{tlsrecord.Alert, 3, 3, 0, 2, 1, 0}
	half := len(hello) / 2
	return map[string][]byte{
		"a record of a bad version":            with(1, 0x99, 0x99),
		"a record longer than allowed":         with(3, 0xff, 0xff),
		"an empty record":                      {tlsrecord.Handshake, 3, 1, 0, 0},
		"empty records":                        bytes.Repeat([]byte{tlsrecord.Handshake, 3, 1, 0, 0}, flood),
		"a message that is no ClientHello":     with(5, 2),
		"a ClientHello longer than allowed":    with(6, 0xff, 0xff, 0xff),
		"a ClientHello of noise":               append(bytes.Clone(hello[:9]), bytes.Repeat([]byte{0xaa}, len(hello)-9)...),
		"alerts in the place of a ClientHello": append([]byte{tlsrecord.Handshake, 3, 1, 0, 1, 1}, bytes.Repeat(alert, flood)...),
		"alerts inside a ClientHello":          slices.Concat([]byte{tlsrecord.Handshake, 3, 1}, binary.BigEndian.AppendUint16(nil, uint16(half-5)), hello[5:half], bytes.Repeat(alert, flood)), //nolint:gosec // a few hundred
		"data in the place of the handshake":   append(bytes.Clone(hello), bytes.Repeat([]byte{tlsrecord.Data, 3, 3, 0, 1, 0}, flood)...),
		"two ClientHellos":                     append(bytes.Clone(hello), hello...),
	}
}

// sendBroken sends raw and wants the end.
func (g *target) sendBroken(raw []byte) error {
	conn, err := g.dial()
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	go func() { _, _ = conn.Write(raw) }() // ends with the connection
	return ended(conn)
}

// ended reads to the end, whatever its kind.
func ended(r io.Reader) error {
	if _, err := io.Copy(io.Discard, r); errors.Is(err, os.ErrDeadlineExceeded) {
		return errors.New("the connection did not end")
	}
	return nil
}

// records is a connection past its handshake, whose records are made by hand.
type records struct {
	conn    net.Conn
	out, in *tlsrecord.Half
}

func (g *target) handshake() (*records, error) {
	conn, err := g.dial()
	if err != nil {
		return nil, err
	}
	var keys bytes.Buffer
	cfg := g.tls.Clone()
	cfg.KeyLogWriter = &keys
	if err := tls.Client(conn, cfg).Handshake(); err != nil { //nolint:noctx // bounded by the deadline of conn
		_ = conn.Close()
		return nil, err
	}
	out, in, err := tlsrecord.FromKeyLog(keys.String())
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	return &records{conn, out, in}, nil
}

var errAlert = errors.New("alert")

// next reads a record and changes the keys where it says so.
func (r *records) next() (kind byte, payload []byte, err error) {
	var header [tlsrecord.HeaderBytes]byte
	if _, err := io.ReadFull(r.conn, header[:]); err != nil {
		return 0, nil, err
	}
	body := make([]byte, binary.BigEndian.Uint16(header[3:]))
	if _, err := io.ReadFull(r.conn, body); err != nil {
		return 0, nil, err
	}
	kind, payload, err = r.in.Open(header[:], body)
	switch {
	case err != nil:
	case kind == tlsrecord.Handshake && payload[0] == tlsrecord.KeyUpdate:
		err = r.in.Update()
	case kind == tlsrecord.Alert:
		err = fmt.Errorf("%w %d", errAlert, payload[1])
	}
	return kind, payload, err
}

// brokenRecords make, again and again, what must end a connection with an alert.
func brokenRecords() map[string]func(*records) []byte {
	sealed := func(kind byte, payload ...byte) func(*records) []byte {
		return func(r *records) []byte { return r.out.Seal(kind, payload) }
	}
	update := func(ask byte) func(*records) []byte {
		return func(r *records) []byte {
			b := r.out.Seal(tlsrecord.Handshake, []byte{tlsrecord.KeyUpdate, 0, 0, 1, ask})
			_ = r.out.Update()
			return b
		}
	}
	changed := func(at int, b byte) func(*records) []byte {
		return func(r *records) []byte {
			c := r.out.Seal(tlsrecord.Data, []byte("GET / HTTP/1.1\r\n"))
			c[at] ^= b
			return c
		}
	}
	return map[string]func(*records) []byte{
		"key updates":                   update(0),
		"key updates that ask for one":  update(1),
		"an update of another kind":     sealed(tlsrecord.Handshake, tlsrecord.KeyUpdate, 0, 0, 1, 7),
		"empty records":                 sealed(tlsrecord.Data),
		"warnings":                      sealed(tlsrecord.Alert, 1, 90),
		"a bit that flipped":            changed(tlsrecord.HeaderBytes, 1),
		"a bit of the tag that flipped": changed(tlsrecord.HeaderBytes+20, 0x80),
		"a record of another type":      changed(0, 0x40),
		"a record of another version":   changed(1, 0x08),
		"a record that is too long":     func(*records) []byte { return append([]byte{tlsrecord.Data, 3, 3, 0xff, 0xff}, make([]byte, 1<<16)...) },
		"a second ClientHello":          sealed(tlsrecord.Handshake, 1, 0, 0, 4, 3, 3, 0, 0),
		"a plain record":                func(*records) []byte { return []byte{tlsrecord.Data, 3, 3, 0, 5, 'G', 'E', 'T', ' ', '/'} },
		"a type that does not exist":    sealed(99, 1, 2, 3),
	}
}

func (g *target) breakAfterHandshake(broken func(*records) []byte) error {
	r, err := g.handshake()
	if err != nil {
		return err
	}
	defer func() { _ = r.conn.Close() }()
	go func() { // ends with the connection
		for range flood {
			if _, err := r.conn.Write(broken(r)); err != nil {
				return
			}
		}
	}()
	for err == nil {
		_, _, err = r.next()
	}
	if !errors.Is(err, errAlert) {
		return fmt.Errorf("it ended with %w; want an alert", err)
	}
	return nil
}

// updateKeys asks for the job after every change of keys, also in pieces.
func (g *target) updateKeys() error {
	r, err := g.handshake()
	if err != nil {
		return err
	}
	defer func() { _ = r.conn.Close() }()
	for range 5 {
		for _, b := range []byte{tlsrecord.KeyUpdate, 0, 0, 1, 1} {
			if _, err := r.conn.Write(r.out.Seal(tlsrecord.Handshake, []byte{b})); err != nil {
				return err
			}
		}
		if err := r.out.Update(); err != nil {
			return err
		}
		if _, err := r.conn.Write(r.out.Seal(tlsrecord.Data, []byte(g.status()))); err != nil {
			return err
		}
		for answered := false; !answered; {
			kind, payload, err := r.next()
			if err != nil {
				return err
			}
			if answered = kind == tlsrecord.Data; answered && !bytes.HasPrefix(payload, []byte("HTTP/1.1 200")) {
				return fmt.Errorf("the answer is %q", payload)
			}
		}
	}
	return nil
}

// slicer is a connection that puts every byte of its first record into a record
// of its own.
type slicer struct {
	net.Conn
	done bool
}

func (s *slicer) Write(p []byte) (int, error) {
	if s.done {
		return s.Conn.Write(p)
	}
	s.done = true
	var b []byte
	for _, c := range p[tlsrecord.HeaderBytes:] {
		b = append(b, p[0], p[1], p[2], 0, 1, c)
	}
	if _, err := s.Conn.Write(b); err != nil {
		return 0, err
	}
	return len(p), nil
}

func (g *target) fragmentedHello() error {
	conn, err := g.dial()
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	c := tls.Client(&slicer{Conn: conn}, g.tls)
	if _, err := io.WriteString(c, g.status("Connection: close")); err != nil {
		return err
	}
	answers, err := readAnswers(c)
	if err != nil || len(answers) != 1 || answers[0].status != 200 {
		return fmt.Errorf("%d answers, %w", len(answers), err)
	}
	return nil
}
