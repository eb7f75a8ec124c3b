package flags

import (
	"encoding"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/netip"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// ErrHelp is returned by [Parse] when the arguments asked for help, which has
// been printed: the command is done and has not failed.
var ErrHelp = errors.New("help was asked for")

const envPrefix = "VOICEMILL_"

// Source is where settings come from.
type Source struct {
	Name        string // of the command
	Description string // one sentence
	Args        []string
	Env         func(name string) (string, bool) // os.LookupEnv
	Stdout      io.Writer                        // help goes here
}

// Parse fills cfg, a pointer to a struct. The flag --max-conns is also
// VOICEMILL_MAX_CONNS; a flag wins over the environment, which wins over the
// default in the tag. An unknown flag, an argument that is no flag or a value
// that cannot be read is an error that names it.
func Parse(cfg any, src Source) error {
	set := flag.NewFlagSet(src.Name, flag.ContinueOnError)
	set.SetOutput(io.Discard)
	p := parser{set: set, src: src}
	if err := p.fields(reflect.ValueOf(cfg).Elem(), ""); err != nil {
		return err
	}
	err := set.Parse(src.Args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		p.help(src.Stdout)
		return ErrHelp
	case err != nil:
		return err //nolint:wrapcheck // says which flag
	case set.NArg() > 0:
		return fmt.Errorf("unexpected argument %q", set.Arg(0))
	}
	return nil
}

type parser struct {
	set   *flag.FlagSet
	src   Source
	usage []string
}

// fields adds a flag for every field, and gives it its default or what the
// environment says.
func (p *parser) fields(v reflect.Value, prefix string) error {
	for i := range v.NumField() {
		f, tag := v.Type().Field(i), v.Type().Field(i).Tag
		if _, embedded := tag.Lookup("embed"); embedded {
			if err := p.fields(v.Field(i), prefix+tag.Get("prefix")); err != nil {
				return err
			}
			continue
		}
		one := &value{v: v.Field(i)}
		name := prefix + kebab(f.Name)
		if d, ok := tag.Lookup("default"); ok {
			if err := one.Set(d); err != nil {
				return fmt.Errorf("bug: the default of --%s: %w", name, err)
			}
		}
		env := envPrefix + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
		if s, ok := p.src.Env(env); ok {
			if err := one.Set(s); err != nil {
				return fmt.Errorf("%s: %w", env, err)
			}
		}
		p.set.Var(one, name, "")
		if _, ok := tag.Lookup("negatable"); ok {
			p.set.Var(&value{v: v.Field(i), negate: true}, "no-"+name, "")
		}
		p.usage = append(p.usage, usage(name, env, tag))
	}
	return nil
}

func usage(name, env string, tag reflect.StructTag) string {
	line := "  --" + name
	if ph := tag.Get("placeholder"); ph != "" {
		line += "=" + ph
	} else if d := tag.Get("default"); d != "" {
		line += "=" + d
	}
	return fmt.Sprintf("%s\n        %s ($%s)\n", line, tag.Get("help"), env)
}

func (p *parser) help(w io.Writer) {
	var b strings.Builder
	fmt.Fprintf(&b, "Usage: %s [flags]\n\n%s\n\nFlags:\n", p.src.Name, p.src.Description)
	for _, line := range p.usage {
		b.WriteString(line)
	}
	_, _ = io.WriteString(w, b.String()) // nobody is left to tell
}

// kebab turns MaxConns into max-conns and DSN into dsn.
func kebab(name string) string {
	var b strings.Builder
	for i, r := range name {
		upper := r >= 'A' && r <= 'Z'
		if upper && i > 0 {
			before, after := name[i-1], byte('A')
			if i+1 < len(name) {
				after = name[i+1]
			}
			if before >= 'a' && before <= 'z' || after >= 'a' && after <= 'z' {
				b.WriteByte('-')
			}
		}
		b.WriteRune(r)
	}
	return strings.ToLower(b.String())
}

// value sets one field from text.
type value struct {
	v      reflect.Value
	negate bool
}

// String implements [flag.Value].
func (*value) String() string { return "" }

// IsBoolFlag tells package flag that the value may be left out.
func (o *value) IsBoolFlag() bool { return o.v.Kind() == reflect.Bool }

// Set implements [flag.Value].
func (o *value) Set(s string) error {
	switch p := o.v.Addr().Interface().(type) {
	case encoding.TextUnmarshaler:
		return p.UnmarshalText([]byte(s))
	case *time.Duration:
		d, err := time.ParseDuration(s)
		*p = d
		return err
	case *[]netip.Prefix:
		*p = nil
		for part := range strings.SplitSeq(s, ",") {
			one, err := netip.ParsePrefix(strings.TrimSpace(part))
			if err != nil {
				return err
			}
			*p = append(*p, one)
		}
		return nil
	}
	return o.setPlain(s)
}

func (o *value) setPlain(s string) error {
	switch o.v.Kind() {
	case reflect.String:
		o.v.SetString(s)
	case reflect.Bool:
		b, err := strconv.ParseBool(s)
		o.v.SetBool(b != o.negate)
		return err
	case reflect.Int, reflect.Int32, reflect.Int64:
		n, err := strconv.ParseInt(s, 10, o.v.Type().Bits())
		o.v.SetInt(n)
		return err
	default:
		return fmt.Errorf("bug: a setting of type %s", o.v.Type())
	}
	return nil
}
