package config

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"
)

const envPrefix = "VOICEMILL_"

// Setting describes one setting of a command.
type Setting struct {
	Name        string // of the flag, without dashes, and of the key in a file
	Env         string // the variable; empty if only a flag sets it
	Type        string // text, list, map, duration, number, yes/no, or the name of a type that reads itself
	Default     string // as a flag would give it
	Unit        string // of a number; empty if it counts
	Help        string // one or two sentences
	Placeholder string
	Enum        []string // the words that it may be, if there are few
	Secret      bool
	Bool        bool // a flag without a value means true
	List        bool // a flag that is repeated adds to it

	fields []reflect.Value // that get its value
}

// Describe returns the settings of cfg, a pointer to a struct, in their order.
func Describe(cfg any) ([]Setting, error) {
	var d description
	if err := d.fields(reflect.ValueOf(cfg).Elem(), ""); err != nil {
		return nil, err
	}
	return d.settings, nil
}

type description struct{ settings []Setting }

func (d *description) fields(v reflect.Value, prefix string) error {
	for i := range v.NumField() {
		field := v.Type().Field(i)
		if !field.IsExported() || field.Tag.Get("config") == "-" {
			continue
		}
		var err error
		if _, embedded := field.Tag.Lookup("embed"); embedded {
			err = d.fields(v.Field(i), prefix+field.Tag.Get("prefix"))
		} else {
			err = d.add(v.Field(i), field, prefix)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

var errDiffer = errors.New("bug: fields of one name have different types or defaults")

func (d *description) add(v reflect.Value, field reflect.StructField, prefix string) error {
	tag := field.Tag
	s := Setting{
		Name: prefix + kebab(field.Name), Default: tag.Get("default"), Help: tag.Get("help"), Placeholder: tag.Get("placeholder"),
		fields: []reflect.Value{v},
	}
	if name := tag.Get("name"); name != "" {
		s.Name = prefix + name
	}
	if tag.Get("flag") != "only" {
		s.Env = envPrefix + strings.ToUpper(strings.ReplaceAll(s.Name, "-", "_"))
	}
	if enum := tag.Get("enum"); enum != "" {
		s.Enum = strings.Split(enum, ",")
	}
	_, s.Secret = reflect.TypeAssert[Secret](v)
	s.Bool, s.List = v.Kind() == reflect.Bool, v.Kind() == reflect.Slice || v.Kind() == reflect.Map
	s.Type, s.Unit = kind(v), unit(s.Name, tag)
	i := slices.IndexFunc(d.settings, func(o Setting) bool { return o.Name == s.Name })
	if i < 0 {
		d.settings = append(d.settings, s)
		return nil
	}
	if first := &d.settings[i]; first.fields[0].Type() == v.Type() && first.Default == s.Default {
		first.fields = append(first.fields, v)
		return nil
	}
	return fmt.Errorf("--%s: %w", s.Name, errDiffer)
}

func kind(v reflect.Value) string {
	if v.Type() == reflect.TypeFor[time.Duration]() {
		return "duration"
	}
	switch v.Kind() {
	case reflect.Struct: // a type that reads itself
		return strings.ToLower(v.Type().Name())
	case reflect.Bool:
		return "yes/no"
	case reflect.Slice:
		return "list"
	case reflect.Map:
		return "map"
	case reflect.Int, reflect.Int32, reflect.Int64, reflect.Uint16, reflect.Float64:
		return "number"
	default:
		return "text"
	}
}

// unit returns the unit that the tag or the last word of the name says.
func unit(name string, tag reflect.StructTag) string {
	if u := tag.Get("unit"); u != "" {
		return u
	}
	switch last := name[strings.LastIndexByte(name, '-')+1:]; last {
	case "bytes", "seconds":
		return last
	}
	return ""
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
