package torture_test

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"strings"

	"github.com/voicemill/voicemill/platform/testkit/tlsrecord"
)

// listener is a connection that remembers what came.
type listener struct {
	net.Conn
	heard []byte
}

func (l *listener) Read(p []byte) (int, error) {
	n, err := l.Conn.Read(p)
	l.heard = append(l.heard, p[:n]...)
	return n, err
}

// renegotiate begins a second handshake on a connection of TLS 1.2, which the
// gateway must end.
func (g *target) renegotiate(sealed bool) error {
	conn, err := g.dial()
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	var keys bytes.Buffer
	cfg := g.tls.Clone()
	cfg.MinVersion, cfg.MaxVersion, cfg.KeyLogWriter = tls.VersionTLS12, tls.VersionTLS12, &keys
	cfg.CipherSuites = []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256}
	heard := &listener{Conn: conn}
	if err := tls.Client(heard, cfg).Handshake(); err != nil { //nolint:noctx // bounded by the deadline of conn
		return err
	}
	var again recorder
	_ = tls.Client(&again, cfg).Handshake() //nolint:noctx // it has nobody to talk to
	hello := again.sent
	if sealed {
		half, err := newHalf12(keys.String(), heard.heard)
		if err != nil {
			return err
		}
		if err := half.asks(conn, g.status()); err != nil { // so that it is not the sealing that is refused
			return err
		}
		hello = half.seal(tlsrecord.Handshake, hello[tlsrecord.HeaderBytes:])
	}
	if _, err := conn.Write(hello); err != nil {
		return err
	}
	return ended(conn)
}

var errServerHello = errors.New("no ServerHello where it should be")

const (
	randomAt    = tlsrecord.HeaderBytes + 4 + 2 // of the random in a ServerHello record
	randomBytes = 32
	saltBytes   = 4
)

// half12 is what protects a client's records: RFC 5246 section 6.3 and RFC 5288
// section 3.
type half12 struct {
	aead     cipher.AEAD
	salt     []byte
	sequence uint64
}

func newHalf12(keyLog string, heard []byte) (*half12, error) {
	f := strings.Fields(keyLog) // CLIENT_RANDOM random secret
	if len(f) < 3 || len(heard) < randomAt+randomBytes || heard[0] != tlsrecord.Handshake {
		return nil, errServerHello
	}
	clientRandom, err := hex.DecodeString(f[1])
	if err != nil {
		return nil, err
	}
	master, err := hex.DecodeString(f[2])
	if err != nil {
		return nil, err
	}
	seed := bytes.Join([][]byte{[]byte("key expansion"), heard[randomAt : randomAt+randomBytes], clientRandom}, nil)
	block := expand12(master, seed, 2*aes.BlockSize+2*saltBytes)
	c, err := aes.NewCipher(block[:aes.BlockSize])
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCM(c)
	if err != nil {
		return nil, err
	}
	return &half12{aead, block[2*aes.BlockSize : 2*aes.BlockSize+saltBytes], 1}, nil // Finished was 0
}

// seal returns a whole record.
func (h *half12) seal(kind byte, message []byte) []byte {
	sequence := binary.BigEndian.AppendUint64(nil, h.sequence)
	h.sequence++
	extra := append(bytes.Clone(sequence), kind, 3, 3)
	extra = binary.BigEndian.AppendUint16(extra, uint16(len(message)))                                             //nolint:gosec // a few hundred bytes
	out := binary.BigEndian.AppendUint16([]byte{kind, 3, 3}, uint16(len(sequence)+len(message)+h.aead.Overhead())) //nolint:gosec // as above
	out = append(out, sequence...)
	return h.aead.Seal(out, append(bytes.Clone(h.salt), sequence...), message, extra)
}

var errNoData = errors.New("a sealed request was not answered")

// asks sends a request and waits for the first record of an answer.
func (h *half12) asks(conn net.Conn, request string) error {
	if _, err := conn.Write(h.seal(tlsrecord.Data, []byte(request))); err != nil {
		return err
	}
	var header [tlsrecord.HeaderBytes]byte
	if _, err := io.ReadFull(conn, header[:]); err != nil {
		return err
	}
	if header[0] != tlsrecord.Data {
		return errNoData
	}
	_, err := io.CopyN(io.Discard, conn, int64(binary.BigEndian.Uint16(header[3:])))
	return err
}

// expand12 is the pseudorandom function of TLS 1.2: RFC 5246 section 5.
func expand12(secret, seed []byte, n int) []byte {
	sum := func(parts ...[]byte) []byte {
		h := hmac.New(sha256.New, secret)
		for _, p := range parts {
			_, _ = h.Write(p)
		}
		return h.Sum(nil)
	}
	var out []byte
	for a := sum(seed); len(out) < n; a = sum(a) {
		out = append(out, sum(a, seed)...)
	}
	return out[:n]
}
