package strictjson

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
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

// Decode reads data, one JSON value, into the value that into points to. It
// returns a *SyntaxError if data is not JSON, and otherwise the faults against
// the type of into. With faults, into holds the members that have none, so that
// the caller can look for faults of meaning, too.
func (s *Schema[T]) Decode(data []byte, into *T) (job.Faults, error) {
	var none job.Faults
	if !utf8.Valid(data) {
		return none, &SyntaxError{Offset: invalidAt(data), Detail: "the text is not UTF-8"}
	}
	p := parser{data: data}
	err := p.document(s.root)
	if err != nil {
		return none, err
	}
	if p.faults.Any() {
		fill(p.plain(), reflect.ValueOf(into).Elem())
		return p.faults, nil
	}
	if err := json.Unmarshal(p.plain(), into); err != nil {
		return none, &SyntaxError{Detail: "the value cannot be read"}
	}
	return none, nil
}

// fill reads the members of an object one by one and leaves out those that
// cannot be read.
func fill(data []byte, into reflect.Value) {
	var members map[string]json.RawMessage
	if into.Kind() != reflect.Struct || json.Unmarshal(data, &members) != nil {
		return
	}
	for i := range into.NumField() {
		name, _, _ := strings.Cut(into.Type().Field(i).Tag.Get("json"), ",")
		raw, ok := members[name]
		if !ok {
			continue
		}
		if err := json.Unmarshal(raw, into.Field(i).Addr().Interface()); err != nil {
			continue // its fault is known
		}
	}
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
