package config

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strconv"
	"strings"
)

// ErrDone is returned by [Parse] when the arguments asked for something to be
// printed, which has been: the command is done and has not failed.
var ErrDone = errors.New("what was asked for has been printed")

// ErrUsage is in errors of [Parse] about the arguments themselves.
var ErrUsage = errors.New("the arguments make no sense")

// validator is a struct of settings that looks at more than its rules can, such
// as the files that it names.
type validator interface{ Validate() error }

// Source is where a command's settings come from and how it speaks of itself.
type Source struct {
	Name        string // of the command
	Description string // one sentence
	Args        []string
	Env         []string  // name=value, as os.Environ
	Stdout      io.Writer // what is asked for goes here
}

// client are the variables that the client commands read, which stand beside
// settings in many an environment, and the one by which a gateway tells the next
// of its sockets.
var client = []string{
	envPrefix + "URL", envPrefix + "KEY", envPrefix + "CERT", envPrefix + "CERT_KEY", envPrefix + "CA", envPrefix + "INHERIT",
}

// NotSettings returns the variables that may stand in the environment of a
// command although it has no such setting.
func NotSettings() []string { return slices.Clone(client) }

// Parse fills cfg, a pointer to a struct that [Describe] understands, and
// holds it against its rules and its method Validate, if it has any. The flag --max-conns is also VOICEMILL_MAX_CONNS in the
// environment and max-conns in the file that --config or VOICEMILL_CONFIG names;
// a flag wins over a variable, which wins over the file, which wins over the
// default. Whatever cannot be read is an error that names it.
//
// Unread are the variables that look like settings and are none; they deserve a
// warning. With --print-config they are an error, and without an error the
// settings are printed and ErrDone is returned.
func Parse(cfg any, src Source) (unread []string, err error) {
	settings, err := Describe(cfg)
	if err != nil {
		return nil, err
	}
	args, err := readArgs(settings, src.Args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		help(src.Stdout, src, settings)
		return nil, ErrDone
	case err != nil:
		return nil, err
	}
	env, unread := readEnv(settings, src.Env)
	path := args.config
	if path == "" {
		path = env[configEnv]
	}
	file, err := readFile(settings, path)
	if err != nil {
		return nil, err
	}
	given := make([]origin, len(settings))
	for i, s := range settings {
		given[i] = choose(s, args.values, env, file)
		err = errors.Join(err, given[i].apply(s))
	}
	if err == nil {
		err = validate(cfg)
	}
	if !args.print {
		return unread, err
	}
	if len(unread) > 0 {
		err = errors.Join(err, fmt.Errorf("no setting is called %s", strings.Join(unread, ", ")))
	}
	if err != nil {
		return nil, err
	}
	return nil, printConfig(src.Stdout, settings, given)
}

func validate(cfg any) error {
	if err := Check("", cfg); err != nil {
		return err
	}
	if v, ok := cfg.(validator); ok {
		return v.Validate() //nolint:wrapcheck // says what is wrong
	}
	return nil
}

const (
	configFlag = "config"
	configEnv  = envPrefix + "CONFIG"
	printFlag  = "print-config"
)

// origin is the text that a setting has and where it stands.
type origin struct {
	text  string
	from  string // as an error begins with it; empty for the default
	usage bool   // an argument
	none  bool   // neither given nor a default
}

func choose(s Setting, args, env map[string]string, file map[string]entry) origin {
	if text, ok := args[s.Name]; ok {
		return origin{text: text, from: "--" + s.Name, usage: true}
	}
	if text, ok := env[s.Env]; ok && s.Env != "" {
		return origin{text: text, from: s.Env}
	}
	if e, ok := file[s.Name]; ok {
		return origin{text: e.text, from: e.where + ": " + s.Name}
	}
	return origin{text: s.Default, none: s.Default == ""}
}

func (o origin) apply(s Setting) error {
	if o.none {
		return nil
	}
	err := s.set(o.text)
	switch {
	case err == nil:
		return nil
	case o.from == "":
		return fmt.Errorf("bug: the default of --%s: %w", s.Name, err)
	case o.usage:
		return fmt.Errorf("%s: %w", o.from, errors.Join(ErrUsage, err))
	}
	return fmt.Errorf("%s: %w", o.from, err)
}

// arguments are the flags as they were given.
type arguments struct {
	values map[string]string
	config string
	print  bool
}

func readArgs(settings []Setting, args []string) (arguments, error) {
	a := arguments{values: map[string]string{}}
	set := flag.NewFlagSet("", flag.ContinueOnError)
	set.SetOutput(io.Discard)
	set.StringVar(&a.config, configFlag, "", "")
	set.BoolVar(&a.print, printFlag, false, "")
	for _, s := range settings {
		set.Var(text{s.Name, s.Bool, s.List, false, a.values}, s.Name, "")
		if s.negatable() {
			set.Var(text{s.Name, true, false, true, a.values}, "no-"+s.Name, "")
		}
	}
	err := set.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return a, flag.ErrHelp
	case err != nil:
		return a, fmt.Errorf("%w: %w", ErrUsage, err)
	case set.NArg() > 0:
		return a, fmt.Errorf("%w: unexpected argument %q", ErrUsage, set.Arg(0))
	}
	return a, nil
}

func (s Setting) negatable() bool { return s.Bool && s.Default == "true" }

// text keeps what a flag was given. A list that is given twice has both.
type text struct {
	name         string
	boolean      bool
	list, negate bool
	values       map[string]string
}

// String implements [flag.Value].
func (text) String() string { return "" }

// IsBoolFlag tells package flag that the value may be left out.
func (t text) IsBoolFlag() bool { return t.boolean }

// Set implements [flag.Value].
func (t text) Set(given string) error {
	if t.negate {
		b, err := strconv.ParseBool(given)
		if err != nil {
			return err //nolint:wrapcheck // package flag says what of
		}
		given = strconv.FormatBool(!b)
	}
	if before, ok := t.values[t.name]; ok && t.list {
		given = before + "," + given
	}
	t.values[t.name] = given
	return nil
}

// readEnv returns the variables that begin as settings do, and the names of
// those that are none.
func readEnv(settings []Setting, environ []string) (env map[string]string, unread []string) {
	env = map[string]string{}
	for _, one := range environ {
		name, value, _ := strings.Cut(one, "=")
		if !strings.HasPrefix(name, envPrefix) {
			continue
		}
		env[name] = value
		known := name == configEnv || slices.Contains(client, name) ||
			slices.ContainsFunc(settings, func(s Setting) bool { return s.Env == name })
		if !known {
			unread = append(unread, name)
		}
	}
	slices.Sort(unread)
	return env, unread
}

// WarnUnread says in the log which variables look like settings and are none.
func WarnUnread(ctx context.Context, log *slog.Logger, unread []string) {
	for _, name := range unread {
		log.WarnContext(ctx, "a variable looks like a setting and is none", slog.String("variable", name))
	}
}
