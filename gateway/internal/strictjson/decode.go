package strictjson

import (
	"fmt"
	"reflect"
	"unicode/utf8"

	"github.com/voicemill/voicemill/job"
)

// MaxDepth is how deep values may nest.
const MaxDepth = 16

// SyntaxError says where a text stops being JSON.
type SyntaxError struct {
	Offset int // bytes before the fault
	Detail string
}

func (e *SyntaxError) Error() string {
	return fmt.Sprintf("not JSON at byte %d: %s", e.Offset, e.Detail)
}

// Decode reads data, one JSON value, into the value that into points to, which is
// zero. It returns a *SyntaxError if data is not JSON, and otherwise the faults
// against the type of into. With faults, into holds what has none, so that the
// caller can look for faults of meaning, too. It keeps nothing of data.
func (s *Schema[T]) Decode(data []byte, into *T) (job.Faults, error) {
	if !utf8.Valid(data) {
		return job.Faults{}, &SyntaxError{Offset: invalidAt(data), Detail: "the text is not UTF-8"}
	}
	p := parser{data: data}
	if err := p.document(target{s.root, reflect.ValueOf(into).Elem()}); err != nil {
		return job.Faults{}, err
	}
	return p.faults, nil
}

func invalidAt(data []byte) int {
	for i := 0; i < len(data); {
		r, n := utf8.DecodeRune(data[i:])
		if r == utf8.RuneError && n <= 1 {
			return i
		}
		i += n
	}
	return len(data)
}
