package demobook_test

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"
)

// document is one parsed XML file of the book.
type document struct {
	name string
	root *node
	body *node
}

// node is an element, or a run of text when its name is empty.
type node struct {
	name     string
	attr     map[string]string
	chars    string
	children []*node
}

// parse reads a file strictly: whatever is not well-formed fails the test.
func parse(t *testing.T, name string, data []byte) document {
	t.Helper()
	decoder := xml.NewDecoder(bytes.NewReader(data))
	top := &node{}
	stack := []*node{top}
	for {
		token, err := decoder.RawToken()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		parent := stack[len(stack)-1]
		switch token := token.(type) {
		case xml.StartElement:
			child := &node{name: token.Name.Local, attr: map[string]string{}}
			for _, a := range token.Attr {
				child.attr[qualified(a.Name)] = a.Value
			}
			parent.children = append(parent.children, child)
			stack = append(stack, child)
		case xml.EndElement:
			if len(stack) == 1 || parent.name != token.Name.Local {
				t.Fatalf("%s: </%s> closes <%s>", name, token.Name.Local, parent.name)
			}
			stack = stack[:len(stack)-1]
		case xml.CharData:
			parent.children = append(parent.children, &node{chars: string(token)})
		}
	}
	if len(stack) != 1 {
		t.Fatalf("%s: <%s> is not closed", name, stack[len(stack)-1].name)
	}
	return document{name: name, root: top, body: top.first("body")}
}

func qualified(n xml.Name) string {
	if n.Space == "" {
		return n.Local
	}
	return n.Space + ":" + n.Local
}

// walk visits the element and everything in it, in reading order.
func (n *node) walk(yield func(*node) bool) { n.visit(yield) }

func (n *node) visit(yield func(*node) bool) bool {
	if !yield(n) {
		return false
	}
	for _, child := range n.children {
		if !child.visit(yield) {
			return false
		}
	}
	return true
}

func (n *node) all(name string) []*node {
	var found []*node
	for m := range n.walk {
		if m.name == name {
			found = append(found, m)
		}
	}
	return found
}

func (n *node) first(name string) *node {
	if found := n.all(name); len(found) > 0 {
		return found[0]
	}
	return nil
}

func (n *node) text() string {
	var b strings.Builder
	for m := range n.walk {
		b.WriteString(m.chars)
		if m.name == "br" {
			b.WriteByte('\n')
		}
	}
	return b.String()
}

func (d document) find(attr, value string) []*node {
	var found []*node
	for n := range d.root.walk {
		if n.attr[attr] == value {
			found = append(found, n)
		}
	}
	return found
}

func (d document) byID(id string) *node {
	if found := d.find("id", id); len(found) == 1 {
		return found[0]
	}
	return nil
}
