package edge_test

import (
	"bufio"
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/voicemill/voicemill/gateway/internal/edge"
)

// authority signs certificates for the names of a test.
type authority struct {
	t    testing.TB
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
	dir  string
	n    int64
}

func newAuthority(tb testing.TB) *authority {
	tb.Helper()
	a := &authority{t: tb, dir: tb.TempDir(), pool: x509.NewCertPool()}
	a.key = a.newKey()
	spec := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, spec, spec, a.key.Public(), a.key)
	if err != nil {
		tb.Fatal(err)
	}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		tb.Fatal(err)
	}
	a.pool.AddCert(a.cert)
	a.write("ca.pem", "CERTIFICATE", der)
	return a
}

func (a *authority) newKey() *ecdsa.PrivateKey {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	return key
}

// issue writes a certificate for name into files called file.
func (a *authority) issue(file, name string) edge.CertificateFiles {
	a.t.Helper()
	a.n++
	spec := &x509.Certificate{
		SerialNumber: big.NewInt(a.n + 1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name}, NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	key := a.newKey()
	der, err := x509.CreateCertificate(rand.Reader, spec, a.cert, key.Public(), a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	return edge.CertificateFiles{Cert: a.write(file+".pem", "CERTIFICATE", der), Key: a.write(file+".key", "PRIVATE KEY", pkcs8)}
}

func (a *authority) write(name, kind string, der []byte) string {
	a.t.Helper()
	path := filepath.Join(a.dir, name)
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		a.t.Fatal(err)
	}
	return path
}

// cutting is a connection whose writes leave in pieces of at most n bytes.
type cutting struct {
	net.Conn
	n int
}

func (c cutting) Write(p []byte) (int, error) {
	for at := 0; at < len(p); at += c.n {
		if n, err := c.Conn.Write(p[at:min(at+c.n, len(p))]); err != nil {
			return at + n, err
		}
	}
	return len(p), nil
}

// tlsClient speaks HTTP over TLS.
type tlsClient struct {
	*tls.Conn
	r *bufio.Reader
}

func (d *door) dialTLS(cfg *tls.Config, cut int) (*tlsClient, error) {
	d.t.Helper()
	raw := d.dial()
	tc := tls.Client(cutting{raw.TCPConn, cut}, cfg)
	if err := tc.HandshakeContext(d.t.Context()); err != nil {
		return nil, err
	}
	return &tlsClient{tc, bufio.NewReader(tc)}, nil
}

func (c *tlsClient) exchange(request string) (answer, error) {
	if _, err := io.WriteString(c, request); err != nil {
		return answer{}, err
	}
	resp, err := http.ReadResponse(c.r, nil)
	if err != nil {
		return answer{}, err
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, string(b), resp.Close, resp.Header}, err
}

// isAlert reports whether err is a fatal alert of the other end.
func isAlert(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "remote error"
}

func TestTLSServesRequestsHoweverTheRecordsAreCut(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	d := open(t, edge.Config{TLS: &edge.TLS{Certificates: []edge.CertificateFiles{a.issue("h", "h")}}}, echo)
	body := strings.Repeat("0123456789abcdef", 20_000)
	big := fmt.Sprintf("POST /big HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for _, cut := range []int{1, 7, 600, 1 << 20} {
			t.Run(fmt.Sprintf("%s in pieces of %d", tls.VersionName(version), cut), func(t *testing.T) {
				t.Parallel()
				c, err := d.dialTLS(&tls.Config{RootCAs: a.pool, ServerName: "h", MaxVersion: version, NextProtos: []string{"http/1.1"}}, cut)
				if err != nil {
					t.Fatal(err)
				}
				if p := c.ConnectionState().NegotiatedProtocol; p != "http/1.1" {
					t.Errorf("protocol is %q", p)
				}
				for range 3 {
					if got, err := c.exchange(get); err != nil || got.body != "GET / " {
						t.Fatalf("got %+v, %v", got, err)
					}
				}
				if cut > 100 {
					if got, err := c.exchange(big); err != nil || got.body != "POST /big "+body {
						t.Fatalf("got %d bytes, %v", len(got.body), err)
					}
				}
				if _, err := c.exchange("GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"); err != nil {
					t.Fatal(err)
				}
				if _, err := c.r.ReadByte(); err != io.EOF { // and not "unexpected EOF"
					t.Errorf("the end is %v; want close_notify", err)
				}
			})
		}
	}
}

func TestTLSAndPlainShareAPort(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	files := []edge.CertificateFiles{a.issue("h", "h")}
	c := open(t, edge.Config{TLS: &edge.TLS{Certificates: files}}, echo).dial()
	c.send(get)
	c.want(200, "GET / ")
	c = open(t, edge.Config{TLS: &edge.TLS{Certificates: files, Only: true}}, echo).dial()
	c.send(get)
	c.want(400, "")
	c.wantEnd()
}

func TestAConnectionTooManyIsNotToldInPlainTextWhereTLSIsSpoken(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	d := open(t, edge.Config{MaxConns: 1, TLS: &edge.TLS{Certificates: []edge.CertificateFiles{a.issue("h", "h")}, Only: true}}, echo)
	first, err := d.dialTLS(&tls.Config{RootCAs: a.pool, ServerName: "h"}, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(first, get); err != nil {
		t.Fatal(err)
	}
	if _, err := first.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	d.dial().wantEnd()
}

// holding keeps what is written until it is let go.
type holding struct {
	net.Conn
	on   bool
	kept bytes.Buffer
}

func (h *holding) Write(p []byte) (int, error) {
	if h.on {
		return h.kept.Write(p)
	}
	h.on = true // behind the ClientHello
	return h.Conn.Write(p)
}

// More than is read before a handshake is over comes at once with its end.
func TestMuchBehindAHandshakeIsReadInOrder(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	d := open(t, edge.Config{TLS: &edge.TLS{Certificates: []edge.CertificateFiles{a.issue("h", "h")}}}, echo)
	h := &holding{Conn: d.dial()}
	c := tls.Client(h, &tls.Config{RootCAs: a.pool, ServerName: "h", MinVersion: tls.VersionTLS13})
	if err := c.HandshakeContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	const n = 20_000
	for i := range n {
		if _, err := fmt.Fprintf(c, "GET /%d HTTP/1.1\r\nHost: h\r\n\r\n", i); err != nil {
			t.Fatal(err)
		}
	}
	var sending sync.WaitGroup
	defer sending.Wait()
	sending.Go(func() { _, _ = h.Conn.Write(h.kept.Bytes()) }) // the answers tell
	r := bufio.NewReader(c)
	for i := range n {
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatalf("answer %d: %v", i, err)
		}
		b, _ := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if want := fmt.Sprintf("GET /%d ", i); string(b) != want {
			t.Fatalf("answer %d is %q", i, b)
		}
	}
}

func TestTLSAnswersPipelinedRequestsInOrderFromOtherGoroutines(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	d := open(t, edge.Config{TLS: &edge.TLS{Certificates: []edge.CertificateFiles{a.issue("h", "h")}}}, func(ex *edge.Exchange) {
		ex.Detach()
		go echo(ex)
	})
	c, err := d.dialTLS(&tls.Config{RootCAs: a.pool, ServerName: "h"}, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	const n = 2000
	var sending sync.WaitGroup
	sending.Go(func() {
		for i := range n {
			if _, err := fmt.Fprintf(c, "GET /%d HTTP/1.1\r\nHost: h\r\n\r\n", i); err != nil {
				t.Error(err)
				return
			}
		}
	})
	for i := range n {
		resp, err := http.ReadResponse(c.r, nil)
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if want := fmt.Sprintf("GET /%d ", i); string(b) != want {
			t.Fatalf("answer %d is %q", i, b)
		}
	}
	sending.Wait()
}

func TestCertificatesAreReloadedWithoutDroppingConnections(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	files := []edge.CertificateFiles{a.issue("one", "one"), a.issue("two", "two")}
	d := open(t, edge.Config{TLS: &edge.TLS{Certificates: files, CheckEvery: 5 * time.Millisecond}}, echo)
	serial := func(name string) string {
		c, err := d.dialTLS(&tls.Config{RootCAs: a.pool, ServerName: name}, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.Close() }()
		return c.ConnectionState().PeerCertificates[0].SerialNumber.String()
	}
	old, err := d.dialTLS(&tls.Config{RootCAs: a.pool, ServerName: "two"}, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	one, two := serial("one"), serial("two")
	if one == two {
		t.Fatal("both names get the same certificate")
	}
	a.issue("two", "two")
	waitFor(t, "the new certificate", func() bool { return serial("two") != two })
	if serial("one") != one {
		t.Error("the other certificate changed")
	}
	if err := os.WriteFile(files[0].Cert, []byte("broken"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := d.Reload(); err == nil {
		t.Error("a broken certificate was loaded")
	}
	if serial("one") != one {
		t.Error("a broken file replaced a good certificate")
	}
	if got, err := old.exchange(get); err != nil || got.status != 200 {
		t.Errorf("the old connection got %+v, %v", got, err)
	}
}

func TestClientCertificateIsVerified(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	stranger := newAuthority(t)
	spec := edge.TLS{Certificates: []edge.CertificateFiles{a.issue("h", "h")}, ClientCAs: filepath.Join(a.dir, "ca.pem")}
	who := func(ex *edge.Exchange) {
		name := "nobody"
		if certs := ex.ClientCertificates(); ex.Secure() && len(certs) > 0 {
			name = certs[0].Subject.CommonName
		}
		ex.Respond(text(200, name))
	}
	optional := open(t, edge.Config{TLS: &spec}, who)
	required := spec
	required.RequireCert = true
	strict := open(t, edge.Config{TLS: &required}, who)
	known := a.issue("client", "client")
	unknown := stranger.issue("client", "client")
	for name, test := range map[string]struct {
		door *door
		cert *edge.CertificateFiles
		want string // empty: refused
	}{
		"known, optional":   {optional, &known, "client"},
		"none, optional":    {optional, nil, "nobody"},
		"unknown, optional": {optional, &unknown, ""},
		"known, required":   {strict, &known, "client"},
		"none, required":    {strict, nil, ""},
	} {
		cfg := &tls.Config{RootCAs: a.pool, ServerName: "h"}
		if test.cert != nil {
			pair, err := tls.LoadX509KeyPair(test.cert.Cert, test.cert.Key)
			if err != nil {
				t.Fatal(err)
			}
			cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
		}
		c, err := test.door.dialTLS(cfg, 1<<20)
		var got answer
		if err == nil {
			got, err = c.exchange(get)
		}
		if test.want == "" && !isAlert(err) {
			t.Errorf("%s: got %+v, %v; want an alert", name, got, err)
		}
		if test.want != "" && got.body != test.want {
			t.Errorf("%s: got %+v, %v; want %s", name, got, err, test.want)
		}
	}
}

func TestSessionsAreResumedAcrossServersThatShareKeys(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	files := []edge.CertificateFiles{a.issue("h", "h")}
	cfg := &tls.Config{RootCAs: a.pool, ServerName: "h", ClientSessionCache: tls.NewLRUClientSessionCache(8)}
	for i := range 3 {
		d := open(t, edge.Config{TLS: &edge.TLS{Certificates: files, TicketKeys: [][32]byte{{1, 2, 3}}}}, echo)
		c, err := d.dialTLS(cfg, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.exchange(get); err != nil {
			t.Fatal(err)
		}
		if resumed := c.ConnectionState().DidResume; resumed != (i > 0) {
			t.Errorf("connection %d resumed: %t", i, resumed)
		}
		_ = c.Close()
	}
}

func TestBrokenTLSIsAnsweredWithAnAlert(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	d := open(t, edge.Config{TLS: &edge.TLS{Certificates: []edge.CertificateFiles{a.issue("h", "h")}}}, echo)
	raw := d.dial()
	tc := tls.Client(raw.TCPConn, &tls.Config{RootCAs: a.pool, ServerName: "h"})
	if err := tc.HandshakeContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	raw.send("\x17\x03\x03\x00\x20" + strings.Repeat("x", 32))
	if _, err := io.ReadAll(tc); !isAlert(err) {
		t.Errorf("after a corrupt record: %v; want an alert", err)
	}
	for name, hello := range map[string]string{
		"garbage in a record":  "\x16\x03\x01\x00\x04garb",
		"oversized record":     "\x16\x03\x01\xff\xff" + strings.Repeat("x", 100_000),
		"wrong handshake type": "\x16\x03\x01\x00\x04\x0e\x00\x00\x00",
	} {
		c := d.dial()
		_, _ = io.WriteString(c, hello)
		if b, err := io.ReadAll(c.r); err == nil && (len(b) == 0 || b[0] != 0x15) {
			t.Errorf("%s: got %q; want an alert", name, b)
		}
	}
	if _, err := d.dialTLS(&tls.Config{RootCAs: a.pool, ServerName: "h", NextProtos: []string{"h2"}}, 100); err == nil {
		t.Error("h2 was negotiated")
	}
	waitFor(t, "failed handshakes to be counted", func() bool { return d.Stats().FailedHandshakes.Load() >= 4 })
}

// clientHello returns the first record of a client that asks for name.
func clientHello(tb testing.TB, name string) []byte {
	tb.Helper()
	near, far := net.Pipe()
	var speaking sync.WaitGroup
	speaking.Go(func() { _ = tls.Client(near, &tls.Config{ServerName: name}).HandshakeContext(tb.Context()) })
	defer speaking.Wait()
	defer func() { _ = far.Close() }()
	hello := make([]byte, 5)
	if _, err := io.ReadFull(far, hello); err != nil {
		tb.Fatal(err)
	}
	hello = append(hello, make([]byte, int(hello[3])<<8|int(hello[4]))...)
	if _, err := io.ReadFull(far, hello[5:]); err != nil {
		tb.Fatal(err)
	}
	return hello
}

// recut spreads the handshake message of a record over records of size bytes.
func recut(record []byte, size int) (cut []byte) {
	for left := record[5:]; len(left) > 0; left = left[min(size, len(left)):] {
		n := min(size, len(left))
		cut = append(cut, 0x16, 3, 1, byte(n>>8), byte(n))
		cut = append(cut, left[:n]...)
	}
	return cut
}

func TestHalfAClientHelloTakesNoHandshake(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	d := open(t, edge.Config{
		MaxHandshakes: 1, HeadTimeout: 15 * time.Second,
		TLS: &edge.TLS{Certificates: []edge.CertificateFiles{a.issue("h", "h")}},
	}, echo)
	hello := clientHello(t, "h")
	pieces := recut(hello, 100)
	var slow []*client
	for _, half := range [][]byte{hello[:1], hello[:4], hello[:6], hello[:len(hello)-1], pieces[:6], pieces[:105], pieces[:len(pieces)-1]} {
		c := d.dial()
		c.send(string(half))
		slow = append(slow, c)
	}
	waitFor(t, "the halves to arrive", func() bool { return d.Stats().BytesIn.Load() >= uint64(len(hello)+len(pieces)+120) })
	c, err := d.dialTLS(&tls.Config{RootCAs: a.pool, ServerName: "h"}, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.exchange(get); err != nil {
		t.Error(err)
	}
	if n := d.Stats().ShedHandshakes.Load(); n != 0 {
		t.Errorf("%d handshakes shed", n)
	}
	last := slow[len(slow)-1]
	last.send(string(pieces[len(pieces)-1:]))
	if b, err := last.r.ReadByte(); err != nil || b != 0x16 {
		t.Errorf("a ClientHello in pieces is answered with %x, %v", b, err)
	}
	for _, c := range slow[:len(slow)-1] {
		c.wantEnd()
	}
}

func TestWhatBeginsNoClientHelloIsRefusedAtOnce(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	d := open(t, edge.Config{
		HeadTimeout: 5 * time.Minute, HandshakeTimeout: 5 * time.Minute,
		TLS: &edge.TLS{Certificates: []edge.CertificateFiles{a.issue("h", "h")}},
	}, echo)
	hello := clientHello(t, "h")
	for name, opening := range map[string][]byte{
		"an empty record":           {0x16, 3, 1, 0, 0},
		"an empty record later on":  slices.Concat(recut(hello, 100)[:105], []byte{0x16, 3, 1, 0, 0}),
		"a record that is too long": {0x16, 3, 1, 0xff, 0xff},
		"another message":           {0x16, 3, 1, 0, 4, 2, 0, 0, 0},
		"a message too long":        {0x16, 3, 1, 0, 4, 1, 0xff, 0xff, 0xff},
		"an alert":                  slices.Concat(recut(hello, 100)[:105], []byte{0x15, 3, 3, 0, 2, 1, 0}),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := d.dial()
			c.send(string(opening))
			if _, err := io.Copy(io.Discard, c.r); errors.Is(err, os.ErrDeadlineExceeded) {
				t.Error("the connection did not end")
			}
		})
	}
}

func TestHandshakesThatWaitForTheirClientsGiveWay(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	d := open(t, edge.Config{
		HandshakeTimeout: 5 * time.Minute, HandshakeStall: 50 * time.Millisecond, MaxHandshakes: 2,
		TLS: &edge.TLS{Certificates: []edge.CertificateFiles{a.issue("h", "h")}},
	}, echo)
	hello := string(clientHello(t, "h"))
	slow := []*client{d.dial(), d.dial()}
	for i, c := range slow {
		c.send(hello)
		waitFor(t, "its handshake", func() bool { return d.Stats().Handshakes.Load() == int64(i+1) })
	}
	waitFor(t, "a place", func() bool {
		c, err := d.dialTLS(&tls.Config{RootCAs: a.pool, ServerName: "h"}, 1<<20)
		if err != nil {
			return false
		}
		_, err = c.exchange(get)
		return err == nil
	})
	if d.Stats().ShedHandshakes.Load() == 0 {
		t.Error("no handshake was shed")
	}
}

func TestHandshakesAreBoundedAndTimed(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	d := open(t, edge.Config{
		HandshakeTimeout: 2 * time.Second, HandshakeStall: 2 * time.Second, MaxHandshakes: 2,
		TLS: &edge.TLS{Certificates: []edge.CertificateFiles{a.issue("h", "h")}},
	}, echo)
	hello := string(clientHello(t, "h"))
	slow := []*client{d.dial(), d.dial()}
	for _, c := range slow {
		c.send(hello)
	}
	waitFor(t, "two handshakes", func() bool { return d.Stats().Handshakes.Load() == 2 })
	surplus := d.dial()
	surplus.send(hello)
	_, _ = io.Copy(io.Discard, surplus)
	if n := d.Stats().ShedHandshakes.Load(); n != 1 {
		t.Errorf("%d handshakes shed; want 1", n)
	}
	for _, c := range slow {
		_, _ = io.Copy(io.Discard, c)
	}
	waitFor(t, "the handshakes to end", func() bool { return d.Stats().Handshakes.Load() == 0 })
	c, err := d.dialTLS(&tls.Config{RootCAs: a.pool, ServerName: "h"}, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.exchange(get); err != nil {
		t.Error(err)
	}
}

func TestManyTLSConnectionsAtOnce(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	d := open(t, edge.Config{TLS: &edge.TLS{Certificates: []edge.CertificateFiles{a.issue("h", "h")}}}, echo)
	var all sync.WaitGroup
	for i := range 40 {
		all.Go(func() {
			c, err := d.dialTLS(&tls.Config{RootCAs: a.pool, ServerName: "h", MaxVersion: uint16(tls.VersionTLS12 + i%2)}, 1<<20)
			if err != nil {
				t.Error(err)
				return
			}
			for range 20 {
				if got, err := c.exchange(get); err != nil || got.status != 200 {
					t.Errorf("got %+v, %v", got, err)
					return
				}
			}
			if i%3 == 0 {
				_ = c.NetConn().Close()
			}
			_ = c.Close()
		})
	}
	all.Wait()
	waitFor(t, "all connections to be closed", func() bool { return d.Stats().Open.Load() == 0 })
}

func TestHalfClosedTLSStillGetsItsAnswer(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	held := make(chan *edge.Exchange, 1)
	d := open(t, edge.Config{TLS: &edge.TLS{Certificates: []edge.CertificateFiles{a.issue("h", "h")}}}, func(ex *edge.Exchange) {
		ex.Detach()
		held <- ex
	})
	c, err := d.dialTLS(&tls.Config{RootCAs: a.pool, ServerName: "h"}, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(c, get); err != nil {
		t.Fatal(err)
	}
	ex := <-held
	if err := c.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	body := strings.Repeat("x", 3<<20)
	ex.Respond(text(200, body))
	resp, err := http.ReadResponse(c.r, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if b, err := io.ReadAll(resp.Body); err != nil || string(b) != body {
		t.Errorf("got %d bytes, %v", len(b), err)
	}
	if _, err := c.r.ReadByte(); err != io.EOF {
		t.Errorf("the end is %v", err)
	}
}
