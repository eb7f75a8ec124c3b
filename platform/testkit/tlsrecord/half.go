package tlsrecord

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

// Content types and messages of RFC 8446.
const (
	Alert     = 21
	Handshake = 22
	Data      = 23

	KeyUpdate = 24 // a message of type Handshake
	Ticket    = 4  // likewise
)

// HeaderBytes is the length of a record's header.
const HeaderBytes = 5

const (
	keyBytes    = 16
	ivBytes     = 12
	secretBytes = 32
)

// Half is the protection of one direction: RFC 8446 sections 5.2 and 7.3, for
// TLS_AES_128_GCM_SHA256. It is for one goroutine.
type Half struct {
	secret []byte
	aead   cipher.AEAD
	iv     []byte
	seq    uint64
}

// NewHalf returns the protection that a traffic secret gives.
func NewHalf(secret []byte) (*Half, error) {
	h := &Half{secret: secret}
	key, err := h.expand("key", keyBytes)
	if err != nil {
		return nil, err
	}
	if h.iv, err = h.expand("iv", ivBytes); err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("tlsrecord: %w", err)
	}
	if h.aead, err = cipher.NewGCM(block); err != nil {
		return nil, fmt.Errorf("tlsrecord: %w", err)
	}
	return h, nil
}

var errSecrets = errors.New("tlsrecord: the key log does not have both traffic secrets")

// FromKeyLog returns the directions of the client and of the server after a
// handshake whose secrets crypto/tls logged.
func FromKeyLog(log string) (client, server *Half, err error) {
	for line := range strings.Lines(log) {
		f := strings.Fields(line)
		if len(f) != 3 {
			continue
		}
		half := map[string]**Half{"CLIENT_TRAFFIC_SECRET_0": &client, "SERVER_TRAFFIC_SECRET_0": &server}[f[0]]
		if half == nil {
			continue
		}
		secret, err := hex.DecodeString(f[2])
		if err != nil {
			return nil, nil, fmt.Errorf("tlsrecord: read a secret: %w", err)
		}
		if *half, err = NewHalf(secret); err != nil {
			return nil, nil, err
		}
	}
	if client == nil || server == nil {
		return nil, nil, errSecrets
	}
	return client, server, nil
}

func (h *Half) expand(label string, n int) ([]byte, error) {
	info := binary.BigEndian.AppendUint16(nil, uint16(n)) //nolint:gosec // at most 32
	info = append(info, byte(len("tls13 ")+len(label)))
	info = append(info, "tls13 "+label...)
	info = append(info, 0)
	b, err := hkdf.Expand(sha256.New, h.secret, string(info), n)
	if err != nil {
		return nil, fmt.Errorf("tlsrecord: derive %s: %w", label, err)
	}
	return b, nil
}

// Update changes the keys, as both sides do for a KeyUpdate.
func (h *Half) Update() error {
	secret, err := h.expand("traffic upd", secretBytes)
	if err != nil {
		return err
	}
	next, err := NewHalf(secret)
	if err != nil {
		return err
	}
	*h = *next
	return nil
}

func (h *Half) nonce() []byte {
	n := bytes.Clone(h.iv)
	for i := range 8 {
		n[4+i] ^= byte(h.seq >> (56 - 8*i))
	}
	h.seq++
	return n
}

// Seal returns a whole record.
func (h *Half) Seal(kind byte, payload []byte) []byte {
	inner := append(bytes.Clone(payload), kind)
	header := binary.BigEndian.AppendUint16([]byte{Data, 3, 3}, uint16(len(inner)+h.aead.Overhead())) //nolint:gosec // a record's length
	return h.aead.Seal(header, h.nonce(), inner, header)
}

// Open decrypts the body of a record with this header.
func (h *Half) Open(header, body []byte) (kind byte, payload []byte, err error) {
	inner, err := h.aead.Open(nil, h.nonce(), body, header)
	if err != nil {
		return 0, nil, fmt.Errorf("tlsrecord: record cannot be decrypted: %w", err)
	}
	return inner[len(inner)-1], inner[:len(inner)-1], nil
}
