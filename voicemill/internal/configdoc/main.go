package main

import (
	_ "embed"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/voicemill/voicemill/gateway"
	"github.com/voicemill/voicemill/platform/config"
	"github.com/voicemill/voicemill/scheduler"
	"github.com/voicemill/voicemill/voicemill/internal/up"
	"github.com/voicemill/voicemill/worker"
)

//go:embed intro.md
var intro string

func main() { os.Exit(run()) }

func run() int {
	text, err := page(commands())
	if err == nil && len(os.Args) != 2 {
		err = fmt.Errorf("usage: %s FILE", os.Args[0])
	}
	if err == nil {
		err = os.WriteFile(os.Args[1], []byte(text), 0o644) //nolint:gosec // a page for everybody
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "configdoc:", err)
		return 1
	}
	return 0
}

// command is one command and the struct of its settings.
type command struct {
	name string
	cfg  any
}

const upName = "voicemill up"

func commands() []command {
	return []command{
		{"gateway", &gateway.Settings{}}, {"scheduler", &scheduler.Settings{}}, {"worker", &worker.Settings{}}, {upName, &up.Config{}},
	}
}

// line is a setting or a rule, and the commands that have it.
type line struct {
	text     string // of a rule
	setting  config.Setting
	commands []string
	defaults map[string]string // by command, of a setting
}

// section returns the name of the section that the line stands in.
func (l line) section() string {
	services := slices.DeleteFunc(slices.Clone(l.commands), func(c string) bool { return c == upName })
	switch len(services) {
	case 0:
		return upName
	case 1:
		return services[0]
	}
	return shared
}

const shared = "Several commands"

// page returns the whole page.
func page(all []command) (string, error) {
	settings, rules, err := collect(all)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	b.WriteString(intro)
	for _, name := range []string{"gateway", "scheduler", "worker", shared, upName} {
		fmt.Fprintf(&b, "\n## %s\n\n", name)
		switch name {
		case upName:
			b.WriteString("All of the settings of gateway, scheduler and worker unless they say otherwise, and:\n\n")
		case shared:
			b.WriteString("| setting | variable | commands | type | default | |\n|---|---|---|---|---|---|\n")
		}
		if name != shared {
			b.WriteString("| setting | variable | type | default | |\n|---|---|---|---|---|\n")
		}
		for _, l := range settings {
			if l.section() == name {
				b.WriteString(l.row())
			}
		}
		writeRules(&b, name, rules)
	}
	return b.String(), nil
}

func writeRules(b *strings.Builder, section string, rules []line) {
	first := true
	for _, r := range rules {
		if r.section() != section {
			continue
		}
		if first {
			b.WriteString("\nA start and `--print-config` insist:\n\n")
			first = false
		}
		fmt.Fprintf(b, "- %s.\n", r.text)
	}
}

// collect returns the settings and the rules of all commands, each once.
func collect(all []command) (settings, rules []line, err error) {
	for _, c := range all {
		described, err := config.Describe(c.cfg)
		if err != nil {
			return nil, nil, fmt.Errorf("%s: %w", c.name, err)
		}
		for _, s := range described {
			i := slices.IndexFunc(settings, func(l line) bool { return l.setting.Name == s.Name })
			if i < 0 {
				i, settings = len(settings), append(settings, line{setting: s, defaults: map[string]string{}})
			}
			settings[i].commands = append(settings[i].commands, c.name)
			settings[i].defaults[c.name] = s.Default
		}
		says, err := config.Relations(c.cfg)
		if err != nil {
			return nil, nil, fmt.Errorf("%s: %w", c.name, err)
		}
		for _, text := range says {
			i := slices.IndexFunc(rules, func(l line) bool { return l.text == text })
			if i < 0 {
				i, rules = len(rules), append(rules, line{text: text})
			}
			rules[i].commands = append(rules[i].commands, c.name)
		}
	}
	return settings, rules, nil
}

// row returns the setting as a line of its section's table.
func (l line) row() string {
	s := l.setting
	cells := []string{"`--" + s.Name + "`", "`" + s.Env + "`"}
	help := s.Help
	if l.section() == shared {
		cells = append(cells, strings.Join(l.commands, ", "))
	} else if !slices.Contains(l.commands, upName) {
		help += " Not in `voicemill up`."
	}
	cells = append(cells, kind(s), l.def(), help)
	for i := range cells {
		cells[i] = strings.ReplaceAll(cells[i], "|", `\|`)
	}
	return "| " + strings.Join(cells, " | ") + " |\n"
}

func kind(s config.Setting) string {
	switch {
	case len(s.Enum) > 0:
		return "`" + strings.Join(s.Enum, "`, `") + "`"
	case s.Unit != "":
		return s.Unit
	}
	return s.Type
}

// def returns the default, or those of the commands that differ.
func (l line) def() string {
	first := l.defaults[l.commands[0]]
	texts := []string{said(l.setting, first)}
	for _, c := range l.commands[1:] {
		if d := l.defaults[c]; d != first {
			texts = append(texts, c+" "+said(l.setting, d))
		}
	}
	return strings.Join(texts, "; ")
}

func said(s config.Setting, def string) string {
	switch n, err := strconv.ParseInt(def, 10, 64); {
	case def == "" && s.Bool:
		return "false"
	case def == "":
		return "–"
	case err == nil && s.Unit == "bytes" && n%(1<<20) == 0:
		return fmt.Sprintf("`%s` (%d MiB)", def, n>>20)
	case err == nil && s.Unit == "bytes" && n%(1<<10) == 0:
		return fmt.Sprintf("`%s` (%d KiB)", def, n>>10)
	}
	return "`" + def + "`"
}
