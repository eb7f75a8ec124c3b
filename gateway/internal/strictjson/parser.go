package strictjson

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/voicemill/voicemill/job"
)

// parser walks the text once, beside the shape it should have, and sets what it
// reads.
type parser struct {
	data   []byte
	pos    int
	depth  int
	path   []byte // JSON pointer of the value at pos
	faults job.Faults
}

// target is where a value goes. The zero target is of a value of no interest,
// which is checked for syntax only.
type target struct {
	shape *shape
	into  reflect.Value // settable, of a type that has the shape
}

// takes reports whether a value of kind k goes to t. It is a fault if t is for
// another.
func (p *parser) takes(t target, k kind, found string) bool {
	if t.shape == nil {
		return false
	}
	if t.shape.kind != k {
		p.fault("must be %s, is %s", t.shape.kind, found)
		return false
	}
	return true
}

func (p *parser) document(t target) error {
	if err := p.value(t); err != nil {
		return err
	}
	p.space()
	if p.pos < len(p.data) {
		return p.syntax("there is more after the value")
	}
	return nil
}

func (p *parser) syntax(format string, args ...any) error {
	return &SyntaxError{Offset: p.pos, Detail: fmt.Sprintf(format, args...)}
}

func (p *parser) fault(format string, args ...any) {
	if !p.faults.Full() {
		p.faults.Add(job.Fault{Pointer: string(p.path), Detail: fmt.Sprintf(format, args...), Kind: job.Invalid})
	}
}

func (p *parser) space() {
	for p.pos < len(p.data) {
		switch p.data[p.pos] {
		case ' ', '\t', '\n', '\r':
			p.pos++
		default:
			return
		}
	}
}

// value reads one value that should go to t.
func (p *parser) value(t target) error {
	p.space()
	switch {
	case p.pos >= len(p.data):
		return p.syntax("the text ends too early")
	case t.shape != nil && t.shape.kind == raw:
		return p.verbatim(t.into)
	case t.shape != nil && t.into.Kind() == reflect.Pointer:
		return p.pointer(t)
	}
	switch c := p.data[p.pos]; {
	case c == '{':
		return p.nested(t, p.object)
	case c == '[':
		return p.nested(t, p.array)
	case c == '"':
		return p.stringValue(t)
	case c == '-' || c >= '0' && c <= '9':
		return p.number(t)
	}
	return p.word(t)
}

// word reads true, false or null.
func (p *parser) word(t target) error {
	for _, word := range []string{"true", "false", "null"} {
		if !bytes.HasPrefix(p.data[p.pos:], []byte(word)) {
			continue
		}
		p.pos += len(word)
		switch {
		case word == "null" && t.shape != nil:
			p.fault("must be %s, is null", t.shape.kind)
		case p.takes(t, boolean, word):
			t.into.SetBool(word == "true")
		}
		return nil
	}
	return p.syntax("a value cannot start with %q", p.data[p.pos])
}

// verbatim keeps a value as it is written.
func (p *parser) verbatim(into reflect.Value) error {
	start := p.pos
	err := p.value(target{})
	into.SetBytes(bytes.Clone(p.data[start:p.pos]))
	return err
}

// pointer reads a value that t points to. t stays nil where the value is of
// another kind, but not where a member of it has a fault.
func (p *parser) pointer(t target) error {
	into := reflect.New(t.into.Type().Elem())
	before := p.faults.Len()
	keep := t.shape.kind == object && p.peek('{')
	err := p.value(target{t.shape, into.Elem()})
	if keep || p.faults.Len() == before {
		t.into.Set(into)
	}
	return err
}

func (p *parser) nested(t target, read func(target) error) error {
	p.depth++
	defer func() { p.depth-- }()
	if p.depth > MaxDepth {
		return p.syntax("values nest deeper than %d", MaxDepth)
	}
	p.pos++
	return read(t)
}

// object reads members after the opening brace.
func (p *parser) object(t target) error {
	switch {
	case t.shape != nil && t.shape.kind == mapping:
		t.into.Set(reflect.MakeMap(t.into.Type()))
	case !p.takes(t, object, "an object"):
		t = target{}
	case t.shape.defaults.IsValid():
		t.into.Set(t.shape.defaults)
	}
	var seen names
	for first := true; ; first = false {
		p.space()
		if p.peek('}') {
			p.pos++
			return nil
		}
		if !first {
			if !p.peek(',') {
				return p.syntax("a comma or a closing brace is missing")
			}
			p.pos++
			p.space()
		}
		if err := p.member(t, &seen); err != nil {
			return err
		}
	}
}

func (p *parser) member(t target, seen *names) error {
	if !p.peek('"') {
		return p.syntax("the name of a member is missing")
	}
	name, err := p.text()
	if err != nil {
		return err
	}
	p.space()
	if !p.peek(':') {
		return p.syntax("the colon after a name is missing")
	}
	p.pos++
	if t.shape == nil {
		return p.value(t)
	}

	outer := len(p.path)
	defer func() { p.path = p.path[:outer] }()
	p.path = append(p.path, '/')
	p.path = append(p.path, escapePointer(name)...)
	if !seen.add(name) {
		p.fault("is given twice")
	}
	if t.shape.kind == mapping {
		elem := reflect.New(t.into.Type().Elem()).Elem()
		err := p.value(target{t.shape.elem, elem})
		t.into.SetMapIndex(reflect.ValueOf(name), elem)
		return err
	}
	m, known := t.shape.members[name]
	if !known {
		p.unknown(t.shape, name)
		return p.value(target{})
	}
	return p.value(target{m.shape, t.into.Field(m.field)})
}

// unknown tells that an object of shape t has no member of that name.
func (p *parser) unknown(t *shape, name string) {
	for candidate := range t.members {
		if strings.EqualFold(candidate, name) {
			p.fault("is not a known field; it is spelled %q", candidate)
			return
		}
	}
	p.fault("is not a known field")
}

// array reads elements after the opening bracket.
func (p *parser) array(t target) error {
	if p.takes(t, list, "a list") {
		t.into.Set(reflect.MakeSlice(t.into.Type(), 0, 0))
	} else {
		t = target{}
	}
	outer := len(p.path)
	for n := 0; ; n++ {
		p.space()
		if p.peek(']') {
			p.pos++
			return nil
		}
		if n > 0 {
			if !p.peek(',') {
				return p.syntax("a comma or a closing bracket is missing")
			}
			p.pos++
			p.space()
			if p.peek(']') {
				return p.syntax("a value is missing after the comma")
			}
		}
		var elem target
		if t.shape != nil {
			t.into.Grow(1)
			t.into.SetLen(n + 1)
			elem = target{t.shape.elem, t.into.Index(n)}
			p.path = strconv.AppendInt(append(p.path, '/'), int64(n), 10)
		}
		err := p.value(elem)
		p.path = p.path[:outer]
		if err != nil {
			return err
		}
	}
}

func (p *parser) peek(c byte) bool { return p.pos < len(p.data) && p.data[p.pos] == c }

func (p *parser) stringValue(t target) error {
	s, err := p.text()
	switch {
	case err != nil:
		return err
	case t.shape != nil && t.shape.kind == moment:
		var at time.Time
		if err := at.UnmarshalText([]byte(s)); err != nil {
			p.fault("must be a time such as 2026-12-01T06:00:00Z")
			return nil //nolint:nilerr // it is told as a fault
		}
		t.into.Set(reflect.ValueOf(at))
	case p.takes(t, text, "a string"):
		t.into.SetString(s)
	}
	return nil
}

// text reads a string and returns it unescaped.
func (p *parser) text() (string, error) {
	start := p.pos
	p.pos++
	escaped := false
	for p.pos < len(p.data) {
		switch c := p.data[p.pos]; {
		case c == '"':
			p.pos++
			return p.unquote(start, escaped)
		case c == '\\':
			escaped = true
			p.pos += 2
		case c < ' ':
			return "", p.syntax("a control character stands in a string; write it as \\u%04x", c)
		default:
			p.pos++
		}
	}
	p.pos = len(p.data)
	return "", p.syntax("a string has no end")
}

func (p *parser) unquote(start int, escaped bool) (string, error) {
	raw := p.data[start:p.pos]
	if !escaped {
		return string(raw[1 : len(raw)-1]), nil
	}
	var s string
	if err := json.Unmarshal(raw, &s); err != nil {
		p.pos = start
		return "", p.syntax("a string has a bad escape")
	}
	if loneSurrogate(raw) {
		p.pos = start
		return "", p.syntax("a string has half of a surrogate pair")
	}
	return s, nil
}

// loneSurrogate reports whether an escape names half of a surrogate pair,
// which the standard decoder would replace without a word.
func loneSurrogate(raw []byte) bool {
	for i := 0; i < len(raw)-1; i++ {
		if raw[i] != '\\' {
			continue
		}
		i++
		unit, ok := codeUnit(raw, i)
		if !ok || unit < 0xd800 || unit > 0xdfff {
			continue
		}
		low, ok := uint64(0), false
		if i+6 < len(raw) && raw[i+5] == '\\' {
			low, ok = codeUnit(raw, i+6)
		}
		if unit > 0xdbff || !ok || low < 0xdc00 || low > 0xdfff {
			return true
		}
		i += 6
	}
	return false
}

// codeUnit reads uXXXX at raw[i:].
func codeUnit(raw []byte, i int) (uint64, bool) {
	if i+5 > len(raw) || raw[i] != 'u' {
		return 0, false
	}
	unit, err := strconv.ParseUint(string(raw[i+1:i+5]), 16, 16)
	return unit, err == nil
}

func (p *parser) number(t target) error {
	start := p.pos
	for p.pos < len(p.data) && strings.IndexByte("+-0123456789.eE", p.data[p.pos]) >= 0 {
		p.pos++
	}
	digits := p.data[start:p.pos]
	if !json.Valid(digits) {
		p.pos = start
		return p.syntax("a number is not written as JSON wants it")
	}
	switch {
	case t.shape != nil && t.shape.kind == whole:
		n, ok := integer(digits, t.shape.bits)
		if !ok {
			p.fault("must be %s, is %s", t.shape.kind, clip(digits))
			return nil
		}
		t.into.SetInt(n)
	case p.takes(t, number, "a number"):
		f, err := strconv.ParseFloat(string(digits), 64)
		if err != nil {
			p.fault("is out of range")
			return nil //nolint:nilerr // it is told as a fault
		}
		t.into.SetFloat(f)
	}
	return nil
}

// integer reads a whole number. JSON Schema lets it be written as 10147.0 or 1e3,
// too, which is read as long as a float64 holds it exactly.
func integer(digits []byte, bits int) (n int64, ok bool) {
	const exact = 1<<53 - 1
	if n, err := strconv.ParseInt(string(digits), 10, bits); err == nil {
		return n, true
	}
	f, err := strconv.ParseFloat(string(digits), 64)
	if err != nil || f != math.Trunc(f) || math.Abs(f) > min(exact, math.Ldexp(1, bits-1)-1) {
		return 0, false
	}
	return int64(f), true
}

func clip(raw []byte) string {
	if len(raw) > 32 {
		return string(raw[:32]) + "…"
	}
	return string(raw)
}

func escapePointer(name string) string {
	if !strings.ContainsAny(name, "~/") {
		return name
	}
	return strings.NewReplacer("~", "~0", "/", "~1").Replace(name)
}

// names remembers the members of one object. A request has few of them; labels
// may have many, so past a handful a map takes over.
type names struct {
	few  []string
	many map[string]struct{}
}

func (n *names) add(name string) bool {
	if n.many == nil && len(n.few) < 16 {
		if slices.Contains(n.few, name) {
			return false
		}
		n.few = append(n.few, name)
		return true
	}
	if n.many == nil {
		n.many = make(map[string]struct{}, 64)
		for _, s := range n.few {
			n.many[s] = struct{}{}
		}
	}
	if _, twice := n.many[name]; twice {
		return false
	}
	n.many[name] = struct{}{}
	return true
}
