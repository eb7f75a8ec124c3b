package store

import (
	"encoding/base64"
	"strconv"
	"strings"
	"time"
)

// Cursor is a place in a list that is ordered by time and id, newest first. The
// zero Cursor is before the first.
type Cursor struct {
	At time.Time
	ID string
}

func (c Cursor) at() *time.Time {
	if c.At.IsZero() {
		return nil
	}
	return &c.At
}

// String returns the opaque form that clients carry.
func (c Cursor) String() string {
	return base64.RawURLEncoding.EncodeToString([]byte(strconv.FormatInt(c.At.UnixMicro(), 10) + " " + c.ID))
}

// ParseCursor reads the opaque form; ok is false for anything else. Empty is the zero Cursor.
func ParseCursor(s string) (c Cursor, ok bool) {
	if s == "" {
		return Cursor{}, true
	}
	raw, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil || len(raw) > 128 {
		return Cursor{}, false
	}
	at, id, found := strings.Cut(string(raw), " ")
	micros, err := strconv.ParseInt(at, 10, 64)
	// Postgres knows times up to the year 294276; ours are far below 9999.
	if !found || err != nil || micros <= 0 || micros > maxMicros || strings.ContainsFunc(id, func(r rune) bool { return r < ' ' || r > '~' }) {
		return Cursor{}, false
	}
	return Cursor{At: time.UnixMicro(micros).UTC(), ID: id}, true
}

const maxMicros = 253_402_300_799_000_000 // the end of the year 9999
