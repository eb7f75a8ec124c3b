package trace

import (
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
)

// shape is a traceparent of version 00: version, trace, parent and flags.
const shape = "00-................................-................-.."

// Parent returns the traceparent in field and reports whether it is
// well-formed. One of a later version is returned as version 00, with the part
// that version knows.
func Parent(field []byte) (parent string, ok bool) {
	if len(field) < len(shape) {
		return "", false
	}
	later := string(field[:2]) != "00"
	if len(field) > len(shape) && (!later || field[len(shape)] != '-') {
		return "", false
	}
	field = field[:len(shape)]
	zero := [4]bool{true, true, true, true} // which parts consist of zeros only
	part := 0
	for i, c := range field {
		switch {
		case shape[i] == '-':
			if c != '-' {
				return "", false
			}
			part++
		case (c < '0' || c > '9') && (c < 'a' || c > 'f'):
			return "", false
		case c != '0':
			zero[part] = false
		}
	}
	if zero[1] || zero[2] || string(field[:2]) == "ff" {
		return "", false
	}
	if !later {
		return string(field), true
	}
	const sampled = 1
	flags := [1]byte{}
	_, _ = hex.Decode(flags[:], field[len(shape)-2:]) // digits, as was checked
	return fmt.Sprintf("00%s%02x", field[2:len(shape)-2], flags[0]&sampled), true
}

// ID returns the part of a well-formed traceparent that names the trace.
func ID(parent string) string { return parent[3:35] }

// The limits of a tracestate.
const (
	stateMembers = 32
	stateBytes   = 512 // what everybody passes on
	longMember   = 128 // members above this go first
	stateKey     = 256
	stateValue   = 256
)

// State returns the tracestate in list, the values of all its fields joined by
// commas: "" if it is malformed, repeats a key or has more than 32 members. Of
// more than 512 bytes members are left out, whole: those above 128 bytes, then
// the last ones, which are the oldest.
func State(list string) string {
	var members, keys []string
	for member := range strings.SplitSeq(list, ",") {
		member = strings.Trim(member, " \t")
		if member == "" {
			continue
		}
		key, value, _ := strings.Cut(member, "=")
		if len(members) == stateMembers || !goodKey(key) || !goodValue(value) || slices.Contains(keys, key) {
			return ""
		}
		members, keys = append(members, member), append(keys, key)
	}
	size := len(members) - 1 // commas
	for _, m := range members {
		size += len(m)
	}
	shed := func(least int) {
		for i := len(members) - 1; i >= 0 && size > stateBytes; i-- {
			if len(members[i]) > least {
				size -= len(members[i]) + 1
				members = slices.Delete(members, i, i+1)
			}
		}
	}
	shed(longMember)
	shed(0)
	return strings.Join(members, ",")
}

func goodKey(key string) bool {
	if key == "" || len(key) > stateKey || strings.IndexByte("_-*/@", key[0]) >= 0 {
		return false
	}
	for i := range len(key) {
		if c := key[i]; (c < '0' || c > '9') && (c < 'a' || c > 'z') && strings.IndexByte("_-*/@", c) < 0 {
			return false
		}
	}
	return true
}

// goodValue takes a value whose trailing blanks were cut off.
func goodValue(value string) bool {
	if value == "" || len(value) > stateValue {
		return false
	}
	for i := range len(value) {
		if c := value[i]; c < ' ' || c > '~' || c == '=' { // a comma has ended it
			return false
		}
	}
	return true
}

// Source begins traces. It is safe for concurrent use.
type Source struct {
	mu     sync.Mutex
	random *rand.ChaCha8 // guarded by mu
}

// NewSource takes its seed from random.
func NewSource(random io.Reader) (*Source, error) {
	var seed [32]byte
	if _, err := io.ReadFull(random, seed[:]); err != nil {
		return nil, fmt.Errorf("read random bytes for traces: %w", err)
	}
	return &Source{random: rand.NewChaCha8(seed)}, nil
}

// Begin returns the traceparent of a new trace, which nobody records.
func (s *Source) Begin() string {
	var ids [24]byte
	s.mu.Lock()
	_, _ = s.random.Read(ids[:]) // never fails
	s.mu.Unlock()
	ids[0] |= 0x80 // neither may be zeros only
	ids[16] |= 0x80
	return fmt.Sprintf("00-%x-%x-00", ids[:16], ids[16:])
}
