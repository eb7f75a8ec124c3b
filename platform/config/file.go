package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

const maxFileBytes = 1 << 20 // a thousand times what a file of settings has

// entry is what a file says about one setting.
type entry struct {
	text  string // as a flag would say it
	where string // file:line
}

// readFile reads a YAML file whose keys are the names of settings; no path is no
// file. Lists may be written as lists and maps as maps.
func readFile(settings []Setting, path string) (map[string]entry, error) {
	if path == "" {
		return nil, nil //nolint:nilnil // nothing is said
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open the file of settings: %w", err)
	}
	defer func() { _ = f.Close() }() // it was only read
	b, err := io.ReadAll(io.LimitReader(f, maxFileBytes+1))
	if err != nil {
		return nil, fmt.Errorf("read the file of settings: %w", err)
	}
	if len(b) > maxFileBytes {
		return nil, fmt.Errorf("%s has more than %d bytes", path, maxFileBytes)
	}
	return readYAML(settings, path, b)
}

func readYAML(settings []Setting, path string, b []byte) (map[string]entry, error) {
	var doc yaml.Node
	switch err := yaml.NewDecoder(bytes.NewReader(b)).Decode(&doc); {
	case errors.Is(err, io.EOF):
		return nil, nil //nolint:nilnil // an empty file says nothing
	case err != nil:
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	root := doc.Content[0]
	if root.Kind != yaml.MappingNode {
		return nil, fmt.Errorf("%s:%d: want lines of the form name: value", path, root.Line)
	}
	entries := map[string]entry{}
	var faults error
	for i := 0; i+1 < len(root.Content); i += 2 {
		key, value := root.Content[i], root.Content[i+1]
		where := fmt.Sprintf("%s:%d", path, key.Line)
		err := entries[key.Value].twice()
		if err == nil {
			entries[key.Value], err = readEntry(settings, key.Value, value, where)
		}
		if err != nil {
			faults = errors.Join(faults, fmt.Errorf("%s: %s: %w", where, key.Value, err))
		}
	}
	return entries, faults
}

func (e entry) twice() error {
	if e.where == "" {
		return nil
	}
	return fmt.Errorf("stands at %s already", e.where)
}

var errUnknown = errors.New("no setting is called so")

func readEntry(settings []Setting, name string, value *yaml.Node, where string) (entry, error) {
	e := entry{where: where}
	i := slices.IndexFunc(settings, func(s Setting) bool { return s.Name == name && s.Env != "" })
	if i < 0 {
		return e, errUnknown
	}
	var err error
	e.text, err = nodeText(settings[i], value)
	return e, err
}

// nodeText returns what a node says in the words of a flag.
func nodeText(s Setting, n *yaml.Node) (string, error) {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	switch {
	case n.Kind == yaml.ScalarNode:
		return n.Value, fits(s, n)
	case n.Kind == yaml.SequenceNode && s.Type == "list":
		return join(n.Content, ",", 1)
	case n.Kind == yaml.MappingNode && s.Type == "map":
		return join(n.Content, "=", 2)
	case n.Kind == yaml.SequenceNode:
		return "", fmt.Errorf("is a list; want a %s", s.Type)
	}
	return "", fmt.Errorf("has lines below it; want a %s", s.Type)
}

// join writes a list, or with by=2 the pairs of a map, as a flag has it.
func join(nodes []*yaml.Node, sep string, by int) (string, error) {
	var items []string
	for group := range slices.Chunk(nodes, by) {
		words := make([]string, len(group))
		for i, n := range group {
			if n.Kind != yaml.ScalarNode || strings.Contains(n.Value, ",") {
				return "", errors.New("an item is not a plain word")
			}
			words[i] = n.Value
		}
		items = append(items, strings.Join(words, sep))
	}
	return strings.Join(items, ","), nil
}

// fits reports a scalar of another type than the setting's, which YAML tells by
// the way it is written.
func fits(s Setting, n *yaml.Node) error {
	switch tag := n.ShortTag(); {
	case tag == "!!null":
		return errors.New(`has no value; "" is the empty one`)
	case s.Bool && tag != "!!bool":
		return errors.New("want true or false")
	case s.Type == "number" && tag != "!!int" && tag != "!!float":
		return errors.New("want a number")
	}
	return nil
}
