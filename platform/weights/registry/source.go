package registry

import (
	"errors"
	"fmt"
	"net/url"
	"path"
	"regexp"
	"strings"
)

// Kind says where a source is.
type Kind string

// The kinds of source.
const (
	PyPI    Kind = "pypi"
	NPM     Kind = "npm"
	File    Kind = "file"
	Address Kind = "address"
)

// Source is where a file comes from.
type Source struct {
	Kind    Kind
	Name    string // of the package; the path of a File; the whole of an Address
	Version string // of the package
	Member  string // path inside the archive; empty if it is none
}

var (
	pypiPackage = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$`)
	npmPackage  = regexp.MustCompile(`^(@[a-z0-9._~-]+/)?[a-z0-9~-][a-z0-9._~-]*$`)
	version     = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9.+!_-]{0,63}$`)
)

// Parse reads a source.
func Parse(text string) (Source, error) {
	place, member, inside := strings.Cut(text, "!")
	if inside && (member == "" || path.Clean("/"+member) != "/"+member) {
		return Source{}, fmt.Errorf("source %q: %q is no path inside an archive", text, member)
	}
	s := Source{Member: member}
	scheme, rest, _ := strings.Cut(place, ":")
	var ok bool
	switch scheme {
	case "pypi":
		s.Kind = PyPI
		s.Name, s.Version, ok = strings.Cut(rest, "==")
		ok = ok && pypiPackage.MatchString(s.Name) && version.MatchString(s.Version) && inside
	case "npm":
		s.Kind = NPM
		at := strings.LastIndex(rest, "@")
		if at > 0 {
			s.Name, s.Version = rest[:at], rest[at+1:]
		}
		ok = npmPackage.MatchString(s.Name) && version.MatchString(s.Version) && inside
	case "file":
		s.Kind, s.Name = File, strings.TrimPrefix(rest, "//")
		ok = s.Name != ""
	case "https", "http":
		s.Kind, s.Name = Address, place
		u, err := url.Parse(place)
		ok = err == nil && u.Host != ""
	}
	if !ok {
		return Source{}, fmt.Errorf("source %q: want pypi:NAME==VERSION!path, npm:NAME@VERSION!path, https://… or file:…", text)
	}
	return s, nil
}

// ErrNotThere says that a registry does not have what a source names.
var ErrNotThere = errors.New("the registry does not have it")
