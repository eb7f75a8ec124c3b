package strictjson

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"time"
)

// Schema is what a type looks like as JSON. It is made once, read-only
// afterwards and safe for concurrent use.
type Schema[T any] struct{ root *shape }

// For returns the schema of T, which must be made of structs with json tags,
// pointers, slices, maps with string keys, strings, booleans, integers, float64
// and time.Time, or json.RawMessage for a value that the caller reads itself. A
// struct that is a [json.Unmarshaler] begins as that reads {}: with its defaults.
// Another type is a bug and panics.
func For[T any]() *Schema[T] { return &Schema[T]{root: shapeOf(reflect.TypeFor[T]())} }

type kind uint8

const (
	object kind = iota
	mapping
	list
	text
	moment
	boolean
	whole
	number
	raw
)

// String describes a value of the kind to whoever sent another one.
func (k kind) String() string {
	return [...]string{"an object", "an object", "a list", "a string", "a time", "true or false", "a whole number", "a number", "anything"}[k]
}

// shape is one node of a schema.
type shape struct {
	kind     kind
	bits     int               // of a whole number
	elem     *shape            // of a list or a mapping
	members  map[string]member // of an object
	defaults reflect.Value     // of an object; zero for none
}

type member struct {
	shape *shape
	field int
}

func shapeOf(t reflect.Type) *shape {
	if t == reflect.TypeFor[time.Time]() {
		return &shape{kind: moment}
	}
	if t == reflect.TypeFor[json.RawMessage]() {
		return &shape{kind: raw}
	}
	switch t.Kind() { //nolint:exhaustive // the kinds that requests have
	case reflect.Pointer:
		return shapeOf(t.Elem())
	case reflect.Struct:
		s := &shape{kind: object, members: make(map[string]member, t.NumField())}
		if v := reflect.New(t); v.Type().Implements(reflect.TypeFor[json.Unmarshaler]()) {
			if err := json.Unmarshal([]byte("{}"), v.Interface()); err != nil {
				panic(fmt.Sprintf("bug: strictjson learns no defaults of a %s: %v", t, err))
			}
			s.defaults = v.Elem()
		}
		for i := range t.NumField() {
			name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
			if name != "" && name != "-" {
				s.members[name] = member{shape: shapeOf(t.Field(i).Type), field: i}
			}
		}
		return s
	case reflect.Map:
		return &shape{kind: mapping, elem: shapeOf(t.Elem())}
	case reflect.Slice:
		return &shape{kind: list, elem: shapeOf(t.Elem())}
	case reflect.String:
		return &shape{kind: text}
	case reflect.Bool:
		return &shape{kind: boolean}
	case reflect.Int, reflect.Int32, reflect.Int64:
		return &shape{kind: whole, bits: t.Bits()}
	case reflect.Float64:
		return &shape{kind: number}
	}
	panic(fmt.Sprintf("bug: strictjson cannot read a %s", t))
}
