package config

import (
	"encoding"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// set gives the setting the value that text says.
func (s Setting) set(text string) error {
	if len(s.Enum) > 0 && !slices.Contains(s.Enum, text) {
		return fmt.Errorf("%q is not one of %s", text, strings.Join(s.Enum, ", "))
	}
	for _, v := range s.fields {
		if err := setValue(v, text); err != nil {
			return err
		}
	}
	return nil
}

func setValue(v reflect.Value, text string) error {
	switch p := v.Addr().Interface().(type) {
	case encoding.TextUnmarshaler:
		return p.UnmarshalText([]byte(text)) //nolint:wrapcheck // the caller says what of
	case *time.Duration:
		d, err := time.ParseDuration(text)
		*p = d
		return err //nolint:wrapcheck // as above
	case *[]netip.Prefix:
		return setList(p, text, netip.ParsePrefix)
	case *[]uint16:
		return setList(p, text, func(one string) (uint16, error) {
			n, err := strconv.ParseUint(one, 10, 16)
			return uint16(n), err
		})
	}
	return setPlain(v, text)
}

func setList[T any](list *[]T, text string, parse func(string) (T, error)) error {
	*list = nil
	for one := range strings.SplitSeq(text, ",") {
		if one = strings.TrimSpace(one); one == "" {
			continue
		}
		v, err := parse(one)
		if err != nil {
			return err
		}
		*list = append(*list, v)
	}
	return nil
}

func setPlain(v reflect.Value, text string) error {
	switch v.Kind() {
	case reflect.String:
		v.SetString(text)
	case reflect.Bool:
		b, err := strconv.ParseBool(text)
		v.SetBool(b)
		return err //nolint:wrapcheck // the caller says what of
	case reflect.Int, reflect.Int32, reflect.Int64:
		n, err := strconv.ParseInt(text, 10, v.Type().Bits())
		v.SetInt(n)
		return err //nolint:wrapcheck // as above
	case reflect.Float64:
		f, err := strconv.ParseFloat(text, 64)
		v.SetFloat(f)
		return err //nolint:wrapcheck // as above
	default:
		return fmt.Errorf("bug: a setting of type %s", v.Type())
	}
	return nil
}
