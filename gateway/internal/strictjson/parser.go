package strictjson

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/voicemill/voicemill/job"
)

// parser walks the text once, beside the shape it should have. A nil shape
// means that the value is of no interest: it is checked for syntax only.
type parser struct {
	data   []byte
	pos    int
	depth  int
	path   []byte // JSON pointer of the value at pos
	faults job.Faults

	respelt []respelling
}

func (p *parser) document(t *shape) error {
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

// value reads one value that should be of type t.
func (p *parser) value(t *shape) error {
	p.space()
	if p.pos >= len(p.data) {
		return p.syntax("the text ends too early")
	}
	switch c := p.data[p.pos]; {
	case c == '{':
		return p.nested(func() error { return p.object(t) })
	case c == '[':
		return p.nested(func() error { return p.array(t) })
	case c == '"':
		return p.stringValue(t)
	case c == '-' || c >= '0' && c <= '9':
		return p.number(t)
	}
	for _, word := range []string{"true", "false", "null"} {
		if bytes.HasPrefix(p.data[p.pos:], []byte(word)) {
			p.pos += len(word)
			if t != nil && (word == "null" || t.kind != boolean) {
				p.fault("must be %s, is %s", t.kind, word)
			}
			return nil
		}
	}
	return p.syntax("a value cannot start with %q", p.data[p.pos])
}

func (p *parser) nested(read func() error) error {
	p.depth++
	defer func() { p.depth-- }()
	if p.depth > MaxDepth {
		return p.syntax("values nest deeper than %d", MaxDepth)
	}
	p.pos++
	return read()
}

// object reads members after the opening brace.
func (p *parser) object(t *shape) error {
	known := t
	if t != nil && t.kind != object && t.kind != mapping {
		p.fault("must be %s, is an object", t.kind)
		known = nil
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
		if err := p.member(known, &seen); err != nil {
			return err
		}
	}
}

func (p *parser) member(t *shape, seen *names) error {
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

	outer := len(p.path)
	defer func() { p.path = p.path[:outer] }()
	p.path = append(p.path, '/')
	p.path = append(p.path, escapePointer(name)...)
	if t != nil && !seen.add(name) {
		p.fault("is given twice")
	}
	return p.value(p.memberShape(t, name))
}

// memberShape looks a member up; an unknown name is a fault.
func (p *parser) memberShape(t *shape, name string) *shape {
	switch {
	case t == nil:
		return nil
	case t.kind == mapping:
		return t.elem
	}
	member, known := t.members[name]
	if known {
		return member
	}
	for candidate := range t.members {
		if strings.EqualFold(candidate, name) {
			p.fault("is not a known field; it is spelled %q", candidate)
			return nil
		}
	}
	p.fault("is not a known field")
	return nil
}

// array reads elements after the opening bracket.
func (p *parser) array(t *shape) error {
	var elem *shape
	if t != nil {
		if t.kind == list {
			elem = t.elem
		} else {
			p.fault("must be %s, is a list", t.kind)
		}
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
		p.path = strconv.AppendInt(append(p.path, '/'), int64(n), 10)
		err := p.value(elem)
		p.path = p.path[:outer]
		if err != nil {
			return err
		}
	}
}

func (p *parser) peek(c byte) bool { return p.pos < len(p.data) && p.data[p.pos] == c }

func (p *parser) stringValue(t *shape) error {
	s, err := p.text()
	switch {
	case err != nil || t == nil:
		return err
	case t.kind == moment:
		if _, err := time.Parse(time.RFC3339Nano, s); err != nil {
			p.fault("must be a time such as 2026-12-01T06:00:00Z")
		}
	case t.kind != text:
		p.fault("must be %s, is a string", t.kind)
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

func (p *parser) number(t *shape) error {
	start := p.pos
	for p.pos < len(p.data) && strings.IndexByte("+-0123456789.eE", p.data[p.pos]) >= 0 {
		p.pos++
	}
	raw := p.data[start:p.pos]
	if !json.Valid(raw) {
		p.pos = start
		return p.syntax("a number is not written as JSON wants it")
	}
	if t == nil {
		return nil
	}
	switch t.kind {
	case whole:
		if _, err := strconv.ParseInt(string(raw), 10, t.bits); err == nil {
			return nil
		}
		n, ok := integer(raw, t.bits)
		if !ok {
			p.fault("must be %s, is %s", t.kind, clip(raw))
			return nil
		}
		p.respelt = append(p.respelt, respelling{start, p.pos, n})
	case number:
		if _, err := strconv.ParseFloat(string(raw), 64); err != nil {
			p.fault("is out of range")
		}
	default:
		p.fault("must be %s, is a number", t.kind)
	}
	return nil
}

// respelling is an integer that was written as JSON Schema allows and Go does not
// read: 10147.0, 1e3.
type respelling struct {
	start, end int
	n          int64
}

// integer reads such a number, as long as a float64 holds it exactly.
func integer(raw []byte, bits int) (n int64, ok bool) {
	const exact = 1<<53 - 1
	f, err := strconv.ParseFloat(string(raw), 64)
	if err != nil || f != math.Trunc(f) || math.Abs(f) > min(exact, math.Ldexp(1, bits-1)-1) {
		return 0, false
	}
	return int64(f), true
}

// plain returns the text with integers written as Go reads them.
func (p *parser) plain() []byte {
	if len(p.respelt) == 0 {
		return p.data
	}
	var b []byte
	at := 0
	for _, r := range p.respelt {
		b = strconv.AppendInt(append(b, p.data[at:r.start]...), r.n, 10)
		at = r.end
	}
	return append(b, p.data[at:]...)
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
