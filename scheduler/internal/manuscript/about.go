package manuscript

import (
	"bytes"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/net/html"

	"github.com/voicemill/voicemill/job"
)

// about returns what the package document says of the book.
func (p *packageDocument) about() job.Metadata {
	m := job.Metadata{
		Title: p.mainTitle(), Author: p.authors(), Year: p.year(),
		Description: described(firstOf(p.Descriptions)), Publisher: folded(firstOf(p.Publishers)),
	}
	m.Series, m.SeriesIndex = p.series()
	return m
}

func firstOf(texts []string) string {
	for _, t := range texts {
		if t = strings.TrimSpace(t); t != "" {
			return t
		}
	}
	return ""
}

// authors returns the creators without those who only did something else, such as
// translating; if nobody is left, all.
func (p *packageDocument) authors() string {
	roles := map[string][]string{} // somebody may have several
	for _, m := range p.Metas {
		if strings.TrimSpace(m.Property) == "role" {
			roles[m.Refines] = append(roles[m.Refines], m.Text)
		}
	}
	author := func(role string) bool { return strings.EqualFold(strings.TrimSpace(role), "aut") }
	var all, authors []string
	for _, c := range p.Creators {
		name := folded(c.Text)
		if name == "" {
			continue
		}
		all = append(all, name)
		did := roles["#"+c.ID]
		if c.Role != "" {
			did = []string{c.Role}
		}
		if len(did) == 0 || slices.ContainsFunc(did, author) {
			authors = append(authors, name)
		}
	}
	if len(authors) == 0 {
		authors = all
	}
	return strings.Join(authors, ", ")
}

// year returns the year of the first date that is not of something else than the
// publication; 0 if there is none.
func (p *packageDocument) year() int {
	for _, d := range p.Dates {
		if event := strings.TrimSpace(d.Event); event != "" && !strings.EqualFold(event, "publication") {
			continue
		}
		if year := yearOf(d.Text); year > 0 {
			return year
		}
	}
	return 0
}

// yearOf returns the year of a date as ISO 8601 writes it, 1818 or 1818-01-01; 0 if it is none.
// A year before 1000 is none: calibre writes 0101-01-01 where it knows no date.
func yearOf(date string) int {
	digits, _, _ := strings.Cut(strings.TrimSpace(date), "-")
	year, err := strconv.ParseUint(digits, 10, 16)
	if err != nil || len(digits) != 4 || year < 1000 {
		return 0
	}
	return int(year)
}

// series returns the series that the book is in and its place there: EPUB 3's
// collections that are not sets, else what calibre notes.
func (p *packageDocument) series() (name string, index float64) {
	kinds, places := map[string]string{}, map[string]string{}
	var calibre, place string
	for _, m := range p.Metas {
		switch text := strings.TrimSpace(m.Text); strings.TrimSpace(m.Property) {
		case "collection-type":
			kinds[m.Refines] = text
		case "group-position":
			places[m.Refines] = text
		}
		switch m.Name {
		case "calibre:series":
			calibre = folded(m.Content)
		case "calibre:series_index":
			place = m.Content
		}
	}
	known := false // a collection that says that it is a series comes before one that says nothing
	for _, m := range p.Metas {
		text := folded(m.Text)
		if strings.TrimSpace(m.Property) != "belongs-to-collection" || m.Refines != "" || text == "" {
			continue
		}
		kind, at := "", ""
		if m.ID != "" {
			kind, at = kinds["#"+m.ID], places["#"+m.ID]
		}
		if kind == "series" && !known || kind == "" && name == "" {
			name, index, known = text, position(at), kind == "series"
		}
	}
	if name == "" {
		name, index = calibre, position(place)
	}
	return name, index
}

// position reads a place in a series; 0 if it is no number, such as the 2.1.3 of a part of a part.
func position(text string) float64 {
	n, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
	if err != nil {
		return 0
	}
	return n
}

// described returns a description as text: stores and programs write HTML there. A
// paragraph is a line.
func described(text string) string {
	if !strings.Contains(text, "<") {
		return lines(text)
	}
	var b bytes.Buffer
	z := html.NewTokenizer(strings.NewReader(text))
	for {
		switch kind := z.Next(); kind {
		case html.ErrorToken:
			return lines(b.String())
		case html.TextToken:
			b.Write(bytes.ReplaceAll(z.Text(), []byte("\n"), []byte(" ")))
		case html.StartTagToken, html.EndTagToken, html.SelfClosingTagToken:
			name, _ := z.TagName()
			switch string(name) {
			case "p", "div", "br", "li", "ul", "ol", "h1", "h2", "h3", "h4", "blockquote":
				b.WriteByte('\n')
			}
		case html.CommentToken, html.DoctypeToken:
		}
	}
}

// lines folds the white space of each line and leaves empty ones out.
func lines(text string) string {
	var all []string
	for line := range strings.Lines(text) {
		if line = folded(line); line != "" {
			all = append(all, line)
		}
	}
	return strings.Join(all, "\n")
}
