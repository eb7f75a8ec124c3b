package config

import (
	"fmt"
	"io"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"
)

// printConfig writes the settings as a file of settings would have them, with
// where each comes from, and returns ErrDone.
func printConfig(w io.Writer, settings []Setting, given []origin) error {
	root := &yaml.Node{Kind: yaml.MappingNode}
	for i, s := range settings {
		if s.Env == "" {
			continue
		}
		value := &yaml.Node{Kind: yaml.ScalarNode, Tag: yamlTag(s), Value: shown(s, given[i].text), LineComment: given[i].says()}
		root.Content = append(root.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: s.Name}, value)
	}
	b, err := yaml.Marshal(root)
	if err == nil {
		_, err = w.Write(b)
	}
	if err != nil {
		return fmt.Errorf("print the settings: %w", err)
	}
	return ErrDone
}

func yamlTag(s Setting) string {
	switch s.Type {
	case "yes/no":
		return "!!bool"
	case "number":
		return "" // as it is written
	default:
		return "!!str"
	}
}

func (o origin) says() string {
	switch {
	case o.from == "":
		return "default"
	case o.usage:
		return "flag"
	}
	where, _, _ := strings.Cut(o.from, ": ")
	return where
}

// password is what a URL says of its user.
var password = regexp.MustCompile(`://[^/@\s,]+@`)

// shown returns text without what is secret in it.
func shown(s Setting, text string) string {
	switch {
	case text == "" && s.Bool:
		return "false"
	case text == "" && s.Type == "number":
		return "0"
	case s.Secret && text != "":
		return redacted
	}
	return password.ReplaceAllString(text, "://"+redacted+"@")
}

// help writes what `--help` shows.
func help(w io.Writer, src Source, settings []Setting) {
	var b strings.Builder
	fmt.Fprintf(&b, "Usage: %s [flags]\n\n%s\n\nFlags:\n", src.Name, src.Description)
	b.WriteString("  --help\n        Show this.\n")
	fmt.Fprintf(&b, "  --%s=FILE\n        YAML file of settings, by the names of the flags. ($%s)\n", configFlag, configEnv)
	fmt.Fprintf(&b, "  --%s\n        Check the settings, print them with their origin, and end.\n", printFlag)
	for _, s := range settings {
		b.WriteString("  --" + s.usage() + "\n        " + s.Help)
		if s.Env != "" {
			b.WriteString(" ($" + s.Env + ")")
		}
		b.WriteByte('\n')
	}
	_, _ = io.WriteString(w, b.String()) // nobody is left to tell
}

func (s Setting) usage() string {
	switch {
	case s.negatable():
		return "[no-]" + s.Name
	case s.Bool:
		return s.Name
	case s.Placeholder != "":
		return s.Name + "=" + s.Placeholder
	case len(s.Enum) > 0:
		return s.Name + "=" + s.Default + " (" + strings.Join(s.Enum, ", ") + ")"
	}
	return s.Name + "=" + s.Default
}
