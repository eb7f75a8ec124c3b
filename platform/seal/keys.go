package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/voicemill/voicemill/job"
)

const (
	keyBytes = 32
	maxKeys  = 16
)

var keyID = regexp.MustCompile(`^[a-z0-9_-]{1,32}$`)

// Keys seal and open. The zero value has no key: see [Keys.Any]. Keys are safe for
// concurrent use.
type Keys struct {
	ids   []string
	aeads map[string]cipher.AEAD
}

// Parse reads keys as a setting gives them: id:key, separated by commas, the one
// that seals first. A key is 32 bytes in base64. An error names no key.
func Parse(text string) (Keys, error) {
	k := Keys{aeads: map[string]cipher.AEAD{}}
	if strings.TrimSpace(text) == "" {
		return k, nil
	}
	for i, pair := range strings.Split(text, ",") {
		id, encoded, found := strings.Cut(strings.TrimSpace(pair), ":")
		if !found || !keyID.MatchString(id) {
			return Keys{}, fmt.Errorf("key %d is not id:base64 with an id of 1 to 32 of a-z, 0-9, _ and -", i+1)
		}
		raw, err := base64.StdEncoding.DecodeString(encoded)
		if err != nil || len(raw) != keyBytes {
			return Keys{}, fmt.Errorf("key %q is not %d bytes in base64", id, keyBytes)
		}
		if k.aeads[id] != nil {
			return Keys{}, fmt.Errorf("key %q is given twice", id)
		}
		if len(k.ids) == maxKeys {
			return Keys{}, fmt.Errorf("there are more than %d keys", maxKeys)
		}
		block, err := aes.NewCipher(raw)
		if err != nil {
			return Keys{}, fmt.Errorf("key %q: %w", id, err)
		}
		if k.aeads[id], err = cipher.NewGCM(block); err != nil {
			return Keys{}, fmt.Errorf("key %q: %w", id, err)
		}
		k.ids = append(k.ids, id)
	}
	return k, nil
}

// Any reports whether there is a key.
func (k Keys) Any() bool { return len(k.ids) > 0 }

// Seal encrypts plain for a place, such as the id of the row that it is kept in:
// it opens nowhere else. by is the id of the key.
func (k Keys) Seal(plain []byte, place string) (by string, sealed []byte, err error) {
	if !k.Any() {
		return "", nil, &job.Error{Op: "seal.Seal", Kind: job.Unavailable, Err: errNoKey}
	}
	aead := k.aeads[k.ids[0]]
	nonce := make([]byte, aead.NonceSize(), aead.NonceSize()+len(plain)+aead.Overhead())
	if _, err := rand.Read(nonce); err != nil {
		return "", nil, fmt.Errorf("read random bytes: %w", err)
	}
	return k.ids[0], aead.Seal(nonce, nonce, plain, []byte(place)), nil
}

// Open decrypts what the key by has sealed for place. The error is Unavailable if
// that key is not there, and Internal if what was stored was changed or is another
// place's.
func (k Keys) Open(by string, sealed []byte, place string) ([]byte, error) {
	aead := k.aeads[by]
	if aead == nil {
		return nil, &job.Error{Op: "seal.Open", Kind: job.Unavailable, Err: fmt.Errorf("the key %q is not configured", by)}
	}
	if len(sealed) < aead.NonceSize() {
		return nil, &job.Error{Op: "seal.Open", Kind: job.Internal, Err: errChanged}
	}
	plain, err := aead.Open(nil, sealed[:aead.NonceSize()], sealed[aead.NonceSize():], []byte(place))
	if err != nil {
		return nil, &job.Error{Op: "seal.Open", Kind: job.Internal, Err: errChanged}
	}
	return plain, nil
}

var (
	errNoKey   = errors.New("no key is configured")
	errChanged = errors.New("what was sealed has been changed, or belongs elsewhere")
)
