package manuscript

import (
	"regexp"
	"strings"
)

// binder puts passages into chapters and passes each chapter when it is
// complete.
type binder struct {
	doc     *Document
	cutter  *cutter
	yield   func(*Chapter, error) bool
	split   int  // headings of this level and above begin chapters; 0: none do
	stopped bool // the consumer wants no more

	chapter  *Chapter // open, nil before the first
	titled   bool     // its title is final
	level    int      // of its heading
	division Matter   // the great division it stands in
	prose    bool     // it has more than headings
	carried  *heading // a chapter that begins with the next passage that is spoken
	count    int      // chapters passed
}

func newBinder(d *Document, yield func(*Chapter, error) bool) *binder {
	return &binder{doc: d, cutter: newCutter(d.opts, d.Language, d.declared), yield: yield}
}

// add puts p into its chapter.
func (b *binder) add(p *passage) error {
	begins := p.begins
	if begins == nil {
		begins = b.carried
	}
	if !speakable(string(p.text)) {
		b.carried = begins
		return nil
	}
	b.carried = nil
	switch {
	case begins != nil:
		if err := b.start(p, begins); err != nil {
			return err
		}
	case b.chapter == nil, b.splits(p), p.mark.division && p.mark.matter != b.division:
		if err := b.start(p, &heading{}); err != nil {
			return err
		}
	}
	if p.level > 0 && !b.prose {
		b.title(p)
	}
	b.prose = b.prose || p.level == 0
	b.chapter.Segments = b.cutter.cut(p, b.chapter.Segments)
	return nil
}

// splits reports whether the heading p begins a chapter.
func (b *binder) splits(p *passage) bool {
	if p.level == 0 || p.level > b.split {
		return false
	}
	return b.prose || p.level != b.level || !numbered.MatchString(b.chapter.Title)
}

// numbered matches a heading that counts chapters and names none.
var numbered = regexp.MustCompile(`(?i)^(?:(?:chapter|part|book|kapitel|teil|buch|chapitre|partie|livre|capítulo|parte|libro|capitolo|глава|часть|hoofdstuk)\s+)?(?:[ivxlc]+|\d+|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve)[.:]?$`)

// start ends the open chapter and begins the one that p is the first passage of.
func (b *binder) start(p *passage, h *heading) error {
	if err := b.end(); err != nil {
		return err
	}
	b.chapter = &Chapter{Title: clip(h.title)}
	b.titled = h.title != ""
	b.prose, b.level = false, 0
	m := p.mark
	if !m.known {
		m = h.matter
	}
	if p.mark.division || h.matter.division {
		b.division = m.matter
	}
	if m.known {
		b.chapter.Matter = m.matter
	} else {
		title := h.title
		if title == "" && p.level > 0 {
			title = string(p.text)
		}
		b.chapter.Matter = matterOf(title)
	}
	return nil
}

// clip shortens a title that is no title.
func clip(title string) string {
	const longest = 500
	if len(title) > longest {
		return strings.ToValidUTF8(title[:longest], "") + "…"
	}
	return title
}

// title takes the chapter's title from its first headings.
func (b *binder) title(p *passage) {
	const longest = 200
	if b.titled || len(p.text) > longest {
		return
	}
	text := string(p.text)
	switch {
	case b.chapter.Title == "":
		b.chapter.Title, b.level = text, p.level
	case numbered.MatchString(b.chapter.Title):
		b.chapter.Title = strings.TrimRight(b.chapter.Title, ".:") + ". " + text
		b.titled = true
	}
}

// end passes the open chapter.
func (b *binder) end() error {
	c := b.chapter
	b.chapter = nil
	if c == nil || len(c.Segments) == 0 {
		return nil
	}
	c.Segments[len(c.Segments)-1].Break = BreakChapter
	b.count++
	if !b.yield(c, nil) {
		b.stopped = true
		return errStopped
	}
	return nil
}

// finish passes the last chapter.
func (b *binder) finish() error {
	if err := b.end(); err != nil {
		return err
	}
	if b.count == 0 {
		return invalid("the document holds no text to speak")
	}
	return nil
}
