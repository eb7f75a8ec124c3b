package job

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"hash"
	"io"
	"math"
)

// Rendition is everything that shapes the audio of one segment. Two segments
// with equal Renditions sound the same, so the second one is not rendered again.
// The tenant is part of it: what one tenant had spoken says nothing to another.
type Rendition struct {
	Tenant         Tenant
	Pool           string // engines that serve the same model
	Engine         string // name and version of the engine's voice set
	Voice          string
	Language       string
	Text           string
	Speed          float64
	Seed           int64
	SampleRate     int    // hertz
	Pronunciations string // canonical JSON, or empty
	Instructions   string // how to speak, or empty
}

// Key returns the SHA-256 of r in lower-case hex. Each field is written with
// its length, so that no two Renditions share an encoding.
func (r Rendition) Key() string {
	h := sha256.New()
	writeField(h, "voicemill rendition 1")
	for _, s := range []string{string(r.Tenant), r.Pool, r.Engine, r.Voice, r.Language, r.Text, r.Pronunciations} {
		writeField(h, s)
	}
	var b [24]byte
	binary.BigEndian.PutUint64(b[:8], math.Float64bits(r.Speed))
	binary.BigEndian.PutUint64(b[8:16], uint64(r.Seed))      //nolint:gosec // the bits are hashed, not counted
	binary.BigEndian.PutUint64(b[16:], uint64(r.SampleRate)) //nolint:gosec // a rate is positive
	h.Write(b[:])
	if r.Instructions != "" { // so that what was spoken before there were any keeps its key
		writeField(h, r.Instructions)
	}
	return hex.EncodeToString(h.Sum(nil))
}

func writeField(h hash.Hash, s string) {
	var n [4]byte
	binary.BigEndian.PutUint32(n[:], uint32(len(s))) //nolint:gosec // fields are far below 4 GiB
	h.Write(n[:])
	_, _ = io.WriteString(h, s) // a hash never fails
}

// OrderDigest proves that a list of renditions is complete and in order: the
// SHA-256 over the keys in reading order (invariant I6). The zero value is not
// ready; use [NewOrderDigest].
type OrderDigest struct{ h hash.Hash }

// NewOrderDigest returns the digest of an empty list.
func NewOrderDigest() OrderDigest { return OrderDigest{h: sha256.New()} }

// Add appends one key: a rendition's for a chapter, a chapter's digest in hex for a job.
func (d OrderDigest) Add(key string) { writeField(d.h, key) }

// Sum returns the 32 bytes of the digest so far.
func (d OrderDigest) Sum() []byte { return d.h.Sum(nil) }
