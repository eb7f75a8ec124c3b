package manuscript

import (
	"bytes"
	"strings"
	"unicode"
)

// mark is what the markup says about the place of a text in the book.
type mark struct {
	matter   Matter
	known    bool
	division bool // said by one of the three great divisions, so that it splits chapters
}

// structure returns the mark of an element by its epub:type and role.
func structure(types, role []byte) mark {
	var found mark
	for _, list := range [...][]byte{types, role} {
		for word := range bytes.FieldsSeq(list) {
			word = bytes.TrimPrefix(word, []byte("doc-"))
			if m, ok := structures[string(word)]; ok && (!found.known || !m.division) {
				division := found.division || m.division
				found = m
				found.division = division
			}
		}
	}
	return found
}

var structures = func() map[string]mark {
	t := map[string]mark{
		"frontmatter": {matter: Front, known: true, division: true},
		"bodymatter":  {matter: Body, known: true, division: true},
		"backmatter":  {matter: Back, known: true, division: true},
	}
	each := func(m Matter, words string) {
		for word := range strings.FieldsSeq(words) {
			t[word] = mark{matter: m, known: true}
		}
	}
	each(Front, `cover titlepage title-page halftitlepage halftitle seriespage copyright-page imprint imprimatur toc toc-brief
		landmarks loi lot loa lov dedication epigraph-page foreword preface preamble`)
	each(Body, "chapter part volume prologue introduction epilogue conclusion text start")
	each(Back, `appendix colophon index glossary bibliography credits contributors other-credits errata endnotes rearnotes
		footnotes notes acknowledgments acknowledgements afterword`)
	return t
}()

// matterOf returns the matter of a chapter by its title, for books whose markup
// says nothing.
func matterOf(title string) Matter {
	key := strings.ToLower(strings.TrimFunc(title, func(r rune) bool { return !unicode.IsLetter(r) }))
	if len(key) > 60 {
		return Body
	}
	return wellKnown[key]
}

// wellKnown lists the titles of front and back matter in lower case.
var wellKnown = func() map[string]Matter {
	t := map[string]Matter{}
	each := func(m Matter, titles string) {
		for title := range strings.SplitSeq(titles, "|") {
			t[strings.TrimSpace(title)] = m
		}
	}
	each(Front, `cover|title page|half title|half-title|copyright|copyright page|copyright notice|imprint|dedication|contents
		|table of contents|toc|list of illustrations|illustrations|list of tables|foreword|preface|also by the author|praise
		|titelseite|umschlag|cover|impressum|widmung|inhalt|inhaltsverzeichnis|vorwort|geleitwort
		|couverture|page de titre|droits d'auteur|dédicace|sommaire|table des matières|préface|avant-propos
		|portada|cubierta|derechos de author|dedicatoria|índice|contenido|prólogo del editor|prefacio
		|copertina|frontespizio|dedica|indice|sommario|prefazione|capa|sumário|dedicatória
		|обложка|содержание|оглавление|предисловие|表紙|目次|はじめに|封面|目录|目錄|版权|版權|前言|序|献辞|الغلاف|المحتويات|الفهرس|مقدمة الناشر`)
	each(Back, `notes|endnotes|end notes|footnotes|bibliography|references|works cited|further reading|glossary|index|appendix
		|appendices|acknowledgments|acknowledgements|about the author|about the publisher|colophon|credits|afterword
		|transcriber's note|transcriber's notes|anmerkungen|literaturverzeichnis|glossar|register|anhang|danksagung|nachwort
		|über den author|über die autorin|bibliographie|remerciements|glossaire|annexe|annexes|postface|notas|bibliografía
		|glosario|agradecimientos|apéndice|epílogo del editor|note|bibliografia|glossario|ringraziamenti|appendice
		|примечания|библиография|указатель|послесловие|あとがき|後付|奥付|解説|后记|後記|附录|附錄|参考文献|الهوامش|المراجع|الملاحق`)
	return t
}()
