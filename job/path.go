package job

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// DefaultPath is where files go in an owner's bucket: as Audiobookshelf and Plex
// take them.
const DefaultPath = "{author}/{series}/{title}/{chapter:03} - {chapter_title}.{ext}"

const (
	maxPathText  = 512
	maxPathNames = 6
	maxPathName  = 120 // bytes of one name of a path, its extension apart
	pathEnd      = ".{ext}"
)

// Path is a template of where the files of a job go in an owner's bucket. What it
// makes are relative paths of at most 800 bytes whose names have no control
// character, do not begin or end with a dot or a space, and are legal on every
// file system; whatever the values are. See [ParsePath].
type Path struct {
	names [][]pathPart // the last is that of the file, without its extension
}

// pathPart is text, or a field if it has a name.
type pathPart struct {
	text  string
	field string
	width int // of a number, filled with zeros
}

// PathValues are what the fields of a template stand for. Empty ones leave no trace:
// see [Path.Chapter].
type PathValues struct {
	Author, Narrator, Series, Title, Language, ChapterTitle string

	SeriesIndex float64
	Year        int
	Chapter     int
	Job         ID
}

// PathFields are the names of all fields.
func PathFields() []string {
	return []string{"author", "narrator", "series", "series_index", "title", "year", "language", "job", "chapter", "chapter_title", "ext"}
}

// ofChapter are the fields that differ between the chapters of a book.
func ofChapter(field string) bool { return field == "chapter" || field == "chapter_title" }

// ParsePath reads a template: names divided by slashes, with fields in braces such as
// {title} or {chapter:03}, the last one ending in .{ext}. The error is one sentence for
// its author.
func ParsePath(text string) (Path, error) {
	switch {
	case len(text) > maxPathText || !utf8.ValidString(text):
		return Path{}, fmt.Errorf("must be UTF-8 of up to %d bytes", maxPathText)
	case strings.HasPrefix(text, "/"):
		return Path{}, errors.New("must not begin with a slash")
	case !strings.HasSuffix(text, pathEnd):
		return Path{}, errors.New("must end in " + pathEnd)
	}
	names := strings.Split(strings.TrimSuffix(text, pathEnd), "/")
	if len(names) > maxPathNames {
		return Path{}, fmt.Errorf("must have at most %d names divided by slashes, has %d", maxPathNames, len(names))
	}
	var p Path
	for _, name := range names {
		parts, err := pathParts(name)
		if err != nil {
			return Path{}, err
		}
		p.names = append(p.names, parts)
	}
	return p, nil
}

func pathParts(name string) (parts []pathPart, err error) {
	switch {
	case name == "":
		return nil, errors.New("must not have an empty name between slashes or before the extension")
	case strings.HasPrefix(name, "."):
		return nil, fmt.Errorf("must not have a name that begins with a dot, such as %q", name)
	}
	for rest := name; rest != ""; {
		open := strings.IndexAny(rest, "{}")
		if open < 0 {
			open = len(rest)
		}
		if i := strings.IndexFunc(rest[:open], unsafeInPath); i >= 0 {
			r, _ := utf8.DecodeRuneInString(rest[i:])
			return nil, fmt.Errorf("must not have %q: not every system takes it in a name", r)
		}
		if open > 0 {
			parts = append(parts, pathPart{text: rest[:open]})
		}
		if open == len(rest) {
			break
		}
		end := strings.IndexByte(rest, '}')
		if rest[open] == '}' || end < 0 {
			return nil, errors.New("has a brace without its other one")
		}
		part, err := pathField(rest[open+1 : end])
		if err != nil {
			return nil, err
		}
		parts, rest = append(parts, part), rest[end+1:]
	}
	return parts, nil
}

func pathField(text string) (pathPart, error) {
	name, format, formatted := strings.Cut(text, ":")
	switch {
	case name == "ext":
		return pathPart{}, errors.New("must have {ext} at its end only")
	case !slices.Contains(PathFields(), name):
		return pathPart{}, fmt.Errorf("has the field {%s}, which is not known; known: %s", name, strings.Join(PathFields(), ", "))
	case !formatted:
		return pathPart{field: name}, nil
	case name != "chapter" && name != "series_index":
		return pathPart{}, fmt.Errorf("has a width for {%s}; only chapter and series_index are numbers", name)
	case len(format) != 2 || format[0] != '0' || format[1] < '1' || format[1] > '9':
		return pathPart{}, fmt.Errorf("has the width %q; it must be 01 to 09", format)
	}
	return pathPart{field: name, width: int(format[1] - '0')}, nil
}

// unsafeInPath reports what names of files must not have, on one system or another.
func unsafeInPath(r rune) bool {
	return unicode.IsControl(r) || unicode.In(r, unicode.Cf, unicode.Zl, unicode.Zp) || r == utf8.RuneError || strings.ContainsRune(`/\:*?"<>|`, r)
}

// Chapter returns the path of a file of a chapter. A field without a value takes the
// text before it along, and a name without any value is left out. ext is plain
// letters and digits.
func (p Path) Chapter(v PathValues, ext string) string {
	last := len(p.names) - 1
	name := v.name(p.names[last])
	if name == "" {
		name = fmt.Sprintf("chapter-%03d", v.Chapter)
	}
	return strings.Join(append(v.folder(p.names[:last]), name+"."+ext), "/")
}

// Book returns the path of a file of the whole book: in the folder of what the template
// has before its first name that differs between chapters.
func (p Path) Book(v PathValues, file string) string {
	same := slices.IndexFunc(p.names, func(parts []pathPart) bool {
		return slices.ContainsFunc(parts, func(one pathPart) bool { return ofChapter(one.field) })
	})
	if last := len(p.names) - 1; same < 0 || same > last {
		same = last
	}
	name := cleanName(file)
	if name == "" {
		name = "file"
	}
	return strings.Join(append(v.folder(p.names[:same]), name), "/")
}

func (v PathValues) folder(names [][]pathPart) (list []string) {
	for _, parts := range names {
		if name := v.name(parts); name != "" {
			list = append(list, name)
		}
	}
	return list
}

func (v PathValues) name(parts []pathPart) string {
	var b strings.Builder
	before, any := "", false
	for _, part := range parts {
		if part.field == "" {
			before += part.text
			continue
		}
		if value := cleanName(v.value(part)); value != "" {
			b.WriteString(before + value)
			any = true
		}
		before = ""
	}
	b.WriteString(before)
	if fields := slices.ContainsFunc(parts, func(one pathPart) bool { return one.field != "" }); fields && !any {
		return ""
	}
	return cleanName(strings.TrimLeft(b.String(), " -,;"))
}

func (v PathValues) value(part pathPart) string {
	switch part.field {
	case "author":
		return v.Author
	case "narrator":
		return v.Narrator
	case "series":
		return v.Series
	case "series_index":
		if v.SeriesIndex == 0 {
			return ""
		}
		whole, fraction, _ := strings.Cut(strconv.FormatFloat(v.SeriesIndex, 'f', -1, 64), ".")
		if whole = strings.Repeat("0", max(0, part.width-len(whole))) + whole; fraction != "" {
			whole += "." + fraction
		}
		return whole
	case "title":
		return v.Title
	case "year":
		if v.Year == 0 {
			return ""
		}
		return strconv.Itoa(v.Year)
	case "language":
		return v.Language
	case "job":
		return string(v.Job)
	case "chapter":
		return fmt.Sprintf("%0*d", part.width, v.Chapter)
	case "chapter_title":
		return v.ChapterTitle
	}
	panic("bug: no value for the field " + part.field)
}

// cleanName makes a text a name that every system takes; it may be empty.
func cleanName(text string) string {
	text = strings.Map(func(r rune) rune {
		if unsafeInPath(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, ""))
	text = strings.Trim(strings.Join(strings.Fields(text), " "), " .")
	if len(text) > maxPathName {
		text = strings.Trim(cutText(text, maxPathName), " .")
	}
	return text
}

func cutText(s string, most int) string {
	for most > 0 && !utf8.RuneStart(s[most]) {
		most--
	}
	return s[:most]
}
