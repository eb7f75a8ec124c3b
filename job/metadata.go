package job

import (
	"cmp"
	"strings"
	"unicode/utf8"
)

// Metadata is what the files say of the book. What is left out is taken from the
// document, as far as that says it.
type Metadata struct {
	Title       string  `json:"title,omitempty"`
	Author      string  `json:"author,omitempty"`
	Narrator    string  `json:"narrator,omitempty"` // default: the voice
	Series      string  `json:"series,omitempty"`
	SeriesIndex float64 `json:"series_index,omitempty"` // place in the series, 0 to 10,000; 0: none
	Year        int     `json:"year,omitempty"`         // 0: none
	Description string  `json:"description,omitempty"`
	Publisher   string  `json:"publisher,omitempty"`
	Cover       string  `json:"cover,omitempty"` // an id from POST /v1/uploads of one of CoverTypes; default: the document's own
}

// How long what files say of a book may be, in bytes of UTF-8.
const (
	maxTag         = 256
	maxDescription = 4096
)

// The largest numbers that files say of a book.
const (
	maxSeriesIndex = 10_000
	maxYear        = 9999
)

// Or returns what m says, and what it leaves out as document says it. The place in a
// series goes with the series: one that m names has no place but that which m names.
// Of m, which may be nil, comes the cover.
func (m *Metadata) Or(document Metadata) Metadata {
	if m == nil {
		m = &Metadata{}
	}
	all := Metadata{
		Title: cmp.Or(m.Title, document.Title), Author: cmp.Or(m.Author, document.Author), Narrator: cmp.Or(m.Narrator, document.Narrator),
		Series: m.Series, SeriesIndex: m.SeriesIndex, Year: cmp.Or(m.Year, document.Year),
		Description: cmp.Or(m.Description, document.Description), Publisher: cmp.Or(m.Publisher, document.Publisher), Cover: m.Cover,
	}
	if m.Series == "" {
		all.Series, all.SeriesIndex = document.Series, cmp.Or(m.SeriesIndex, document.SeriesIndex)
	}
	return all
}

// Bounded returns m as a request may have it: a text that is too long is cut before a
// character and ends in "…", control characters are spaces, and a number out of its
// range is left out.
func (m Metadata) Bounded() Metadata {
	for _, t := range m.texts() {
		*t.value = bounded(*t.value, t.most)
	}
	if !validIndex(m.SeriesIndex) || m.Series == "" {
		m.SeriesIndex = 0
	}
	if !validYear(m.Year) {
		m.Year = 0
	}
	return m
}

func bounded(text string, most int) string {
	const more = "…"
	text = strings.Map(func(r rune) rune {
		if forbiddenControl(string(r)) >= 0 {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, "\uFFFD"))
	if text = strings.TrimSpace(text); len(text) <= most {
		return text
	}
	end := most - len(more)
	for !utf8.RuneStart(text[end]) {
		end--
	}
	return strings.TrimSpace(text[:end]) + more
}

// metadataText is one of the texts of a Metadata.
type metadataText struct {
	name  string
	value *string
	most  int // bytes of UTF-8
}

func (m *Metadata) texts() []metadataText {
	return []metadataText{
		{"title", &m.Title, maxTag},
		{"author", &m.Author, maxTag},
		{"narrator", &m.Narrator, maxTag},
		{"series", &m.Series, maxTag},
		{"description", &m.Description, maxDescription},
		{"publisher", &m.Publisher, maxTag},
	}
}

func validIndex(n float64) bool { return n >= 0 && n <= maxSeriesIndex }

func validYear(year int) bool { return year >= 0 && year <= maxYear }

func (s *Spec) metadataFaults(f *Faults) {
	m := s.Output.Metadata
	if m == nil {
		return
	}
	for _, t := range m.texts() {
		if len(*t.value) > t.most || !utf8.ValidString(*t.value) || forbiddenControl(*t.value) >= 0 {
			f.add("/output/metadata/"+t.name, "must be UTF-8 of up to %d bytes without control characters", t.most)
		}
	}
	if !validIndex(m.SeriesIndex) {
		f.add("/output/metadata/series_index", "must be from 0 to 10,000, is %v", m.SeriesIndex)
	}
	if m.Cover != "" && !strings.HasPrefix(m.Cover, "upl_") {
		f.add("/output/metadata/cover", "must be the id of an upload")
	}
	if !validYear(m.Year) {
		f.add("/output/metadata/year", "must be from 0 to 9999, is %d", m.Year)
	}
}
