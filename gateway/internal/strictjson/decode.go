package strictjson

import (
	"encoding/json"
	"fmt"
	"reflect"
	"unicode/utf8"

	"github.com/voicemill/voicemill/job"
)

// MaxDepth is how deep values may nest.
const MaxDepth = 16

// MaxFaults is how many faults are reported; more are not looked for.
const MaxFaults = 50

// SyntaxError says where a text stops being JSON.
type SyntaxError struct {
	Offset int // bytes before the fault
	Detail string
}

func (e *SyntaxError) Error() string {
	return fmt.Sprintf("not JSON at byte %d: %s", e.Offset, e.Detail)
}

// Decode reads data, one JSON value, into the value that into points to. It
// returns a *SyntaxError if data is not JSON, and otherwise every fault against
// the type of into; into is only filled when there is neither.
func Decode(data []byte, into any) ([]job.Fault, error) {
	if !utf8.Valid(data) {
		return nil, &SyntaxError{Offset: invalidAt(data), Detail: "the text is not UTF-8"}
	}
	p := parser{data: data}
	err := p.document(reflect.TypeOf(into).Elem())
	if err != nil {
		return nil, err
	}
	if len(p.faults) > 0 {
		return p.faults, nil
	}
	if err := json.Unmarshal(data, into); err != nil {
		return nil, &SyntaxError{Detail: "the value cannot be read"}
	}
	return nil, nil
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
