package blob

import (
	"fmt"
	"strings"

	"github.com/voicemill/voicemill/job"
)

const (
	maxKeyBytes  = 1024
	maxNameBytes = 200 // a file system takes 255; some is left for temporary names
)

// ValidKey returns an error of kind Invalid unless key is a path that every
// store keeps as it is: names of letters, digits and ._~=+@,- that do not begin
// with a dot, divided by single slashes, none at either end.
func ValidKey(key string) error {
	if key == "" || len(key) > maxKeyBytes {
		return badKey(key, fmt.Sprintf("has %d bytes; want 1 to %d", len(key), maxKeyBytes))
	}
	for name := range strings.SplitSeq(key, "/") {
		switch {
		case name == "":
			return badKey(key, "has an empty name between slashes")
		case len(name) > maxNameBytes:
			return badKey(key, fmt.Sprintf("has a name longer than %d bytes", maxNameBytes))
		case name[0] == '.':
			return badKey(key, "has a name that begins with a dot")
		}
	}
	for i := range len(key) {
		if !keyByte(key[i]) {
			return badKey(key, fmt.Sprintf("has byte %#02x", key[i]))
		}
	}
	return nil
}

func keyByte(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("/._~=+@,-", c) >= 0
}

func badKey(key, why string) error {
	return &job.Error{Op: "blob.ValidKey", Kind: job.Invalid, Err: fmt.Errorf("object key %.80q %s", key, why)}
}
