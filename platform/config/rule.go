package config

import (
	"errors"
	"fmt"
	"reflect"
	"regexp"
)

// Rule is what settings must keep, alone or together. Validating and
// documenting a struct of settings go through the same list of them, so that one
// cannot say what the other does not.
type Rule struct {
	Says string // a sentence without its dot that names settings in backquotes, by their names within the struct
	Kept bool
	Why  error // what is wrong if it is not kept and Says does not tell; may be nil
}

// ruled is a struct of settings that has rules. What they say does not depend on
// its values.
type ruled interface{ Rules() []Rule }

// ByFault returns a rule that is kept if there is no error.
func ByFault(says string, err error) Rule { return Rule{Says: says, Kept: err == nil, Why: err} }

// Check reports the first rule of cfg, a struct, or of the structs in it, that is
// not kept, with the values of the settings that it names. Errors begin with of,
// if it is not empty.
func Check(of string, cfg any) error {
	v := addressable(cfg)
	settings, err := Describe(v.Addr().Interface())
	if err != nil {
		return err
	}
	for _, r := range rules(v, "") {
		if !r.Kept {
			return r.fault(of, settings)
		}
	}
	return nil
}

// Relations returns what the rules of cfg, a pointer to a struct, say. A name
// that no setting has is an error.
func Relations(cfg any) ([]string, error) {
	settings, err := Describe(cfg)
	if err != nil {
		return nil, err
	}
	names := map[string]bool{}
	for _, s := range settings {
		names[s.Name] = true
	}
	var says []string
	for _, r := range rules(reflect.ValueOf(cfg).Elem(), "") {
		for _, name := range quoted.FindAllStringSubmatch(r.Says, -1) {
			if !names[name[1]] {
				return nil, fmt.Errorf("bug: the rule %q names no setting with %s", r.Says, name[0])
			}
		}
		if r.Says != "" {
			says = append(says, r.Says)
		}
	}
	return says, nil
}

// addressable returns cfg, or what it points to, as a value with an address.
func addressable(cfg any) reflect.Value {
	v := reflect.ValueOf(cfg)
	if v.Kind() == reflect.Pointer {
		return v.Elem()
	}
	whole := reflect.New(v.Type()).Elem()
	whole.Set(v)
	return whole
}

var quoted = regexp.MustCompile("`([a-z0-9-]+)`")

// rules returns the rules of v and of the structs in it, these first, with full names.
func rules(v reflect.Value, prefix string) (all []Rule) {
	for i := range v.NumField() {
		tag := v.Type().Field(i).Tag
		if _, embedded := tag.Lookup("embed"); embedded {
			all = append(all, rules(v.Field(i), prefix+tag.Get("prefix"))...)
			all = append(all, unruled(v.Field(i))...)
		}
	}
	if r, ok := v.Addr().Interface().(ruled); ok {
		for _, one := range r.Rules() {
			one.Says = quoted.ReplaceAllString(one.Says, "`"+prefix+"$1`")
			all = append(all, one)
		}
	}
	return all
}

// unruled returns what a struct that has no rules says by its method Validate.
func unruled(v reflect.Value) []Rule {
	part := v.Addr().Interface()
	if _, ok := part.(ruled); ok {
		return nil
	}
	if p, ok := part.(validator); ok {
		return []Rule{ByFault("", p.Validate())}
	}
	return nil
}

// fault returns what a rule says, with values.
func (r Rule) fault(of string, settings []Setting) error {
	text := quoted.ReplaceAllStringFunc(r.Says, func(name string) string {
		name = name[1 : len(name)-1]
		for _, s := range settings {
			if s.Name == name {
				return name + " (" + s.value() + ")"
			}
		}
		return name
	})
	if text == "" {
		return r.Why
	}
	if of != "" {
		text = of + ": " + text
	}
	if r.Why != nil {
		return fmt.Errorf("%s: %w", text, r.Why)
	}
	return errors.New(text)
}

// value returns the setting's value for a person.
func (s Setting) value() string {
	if text := fmt.Sprint(s.fields[0].Interface()); text != "" {
		return shown(s, text)
	}
	return "not given"
}
