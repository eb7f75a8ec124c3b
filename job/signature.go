package job

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
)

// ManifestSeal is what stands in a manifest between the bytes that are signed and
// the signature, its last member. JSON has no line break within a text, so that
// the last place where it stands is the right one.
const ManifestSeal = ",\n\"signature\":"

// ManifestSignature says who vouches for a manifest (docs/manifest.md).
type ManifestSignature struct {
	Key     string `json:"key"`     // the public key, base64
	Ed25519 string `json:"ed25519"` // RFC 8032, base64
}

// SignManifest signs a manifest; sum is the SHA-256 of its bytes before the seal.
func SignManifest(key ed25519.PrivateKey, sum []byte) ManifestSignature {
	return ManifestSignature{Key: PublicKey(key), Ed25519: base64.StdEncoding.EncodeToString(ed25519.Sign(key, signed(sum)))}
}

// PublicKey writes the public half of key in base64.
func PublicKey(key ed25519.PrivateKey) string {
	public, _ := key.Public().(ed25519.PublicKey) // it is one
	return base64.StdEncoding.EncodeToString(public)
}

// signed is what a signature is made of: it can stand for nothing else.
func signed(sum []byte) []byte { return []byte("voicemill manifest 1 " + hex.EncodeToString(sum)) }

var errNotSigned = errors.New("it has no signature")

// VerifyManifest checks the signature of a manifest and returns the key that it was made
// with. It is for the caller to know whose key that is.
func VerifyManifest(manifest []byte) (key string, err error) {
	at := bytes.LastIndex(manifest, []byte(ManifestSeal))
	if at < 0 {
		return "", errNotSigned
	}
	var s ManifestSignature
	rest, ok := bytes.CutSuffix(manifest[at+len(ManifestSeal):], []byte("}\n"))
	if !ok {
		return "", errNotSigned
	}
	if err := json.Unmarshal(rest, &s); err != nil {
		return "", fmt.Errorf("read its signature: %w", err)
	}
	public, err := base64.StdEncoding.DecodeString(s.Key)
	if err != nil || len(public) != ed25519.PublicKeySize {
		return "", errors.New("its signature names no Ed25519 key")
	}
	value, err := base64.StdEncoding.DecodeString(s.Ed25519)
	sum := sha256.Sum256(manifest[:at])
	if err != nil || !ed25519.Verify(public, signed(sum[:]), value) {
		return "", errors.New("it is not what was signed")
	}
	return s.Key, nil
}
