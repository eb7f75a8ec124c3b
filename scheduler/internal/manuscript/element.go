package manuscript

import (
	"bytes"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/html"
)

// role is what an element is to a reader aloud.
type role uint16

const (
	roleBlock   role = 1 << iota // begins and ends a paragraph
	roleVoid                     // has no content
	roleHidden                   // its content is not spoken
	roleHeading                  // h1 to h6
	roleCell                     // a table cell
	roleRow                      // a table row
	roleTable                    // a table or a part of one
	rolePre                      // line feeds count
)

// roles lists the elements that are more than a run of text. Any other element
// passes its text through.
var roles = func() map[string]role {
	t := map[string]role{
		"pre": roleBlock | rolePre, "listing": roleBlock | rolePre,
		"td": roleBlock | roleCell, "th": roleBlock | roleCell, "tr": roleBlock | roleRow,
		"hr": roleBlock | roleVoid, "br": roleVoid, "img": roleVoid, "image": roleVoid,
		"table": roleBlock | roleTable, "thead": roleBlock | roleTable, "tbody": roleBlock | roleTable,
		"tfoot": roleBlock | roleTable, "caption": roleBlock,
	}
	each := func(r role, names string) {
		for name := range strings.FieldsSeq(names) {
			t[name] |= r
		}
	}
	each(roleBlock, `address article aside blockquote body center dd details dialog dir div dl dt fieldset figcaption figure
		footer form header hgroup html legend li main menu ol optgroup p search section summary ul
		level1 level2 level3 level4 level5 level6 level doctitle docauthor linegroup sidebar prodnote list lic`)
	each(roleBlock|roleHeading, "h1 h2 h3 h4 h5 h6")
	each(roleVoid, "area base basefont col embed frame input link meta param source track wbr")
	each(roleBlock|roleHidden, "nav")
	each(roleHidden, `head script style template svg rt rp rtc audio video canvas iframe object noscript noembed
		noframes textarea select button datalist applet annotation annotation-xml case pagenum noteref annoref`)
	return t
}()

// closing says which open elements a start tag closes, which blocks it reaches
// through to find them, and whether that is any block.
type closing struct {
	elements, through []string
	any               bool
	barriers          []string
}

var implied = func() map[string]*closing {
	inItem := []string{"p", "div", "address"}
	t := map[string]*closing{
		"li": {elements: []string{"li"}, through: inItem},
		"dt": {elements: []string{"dt", "dd"}, through: inItem},
		"dd": {elements: []string{"dt", "dd"}, through: inItem},
		"tr": {elements: []string{"tr"}, any: true, barriers: []string{"table"}},
		"td": {elements: []string{"td", "th"}, any: true, barriers: []string{"tr", "table"}},
		"th": {elements: []string{"td", "th"}, any: true, barriers: []string{"tr", "table"}},
	}
	for _, name := range []string{"thead", "tbody", "tfoot"} {
		t[name] = &closing{elements: []string{"thead", "tbody", "tfoot"}, any: true, barriers: []string{"table"}}
	}
	for _, name := range []string{"p", "h1", "h2", "h3", "h4", "h5", "h6"} {
		t[name] = &closing{elements: []string{"p"}}
	}
	return t
}()

// attributes are those of a start tag that matter here. The slices are valid
// until the next read.
type attributes struct {
	id, class, types, ariaRole, lang, href, rel, style      []byte
	alt, ariaLabel, alttext, phonemes, alphabet, ariaHidden []byte
	hidden, altGiven                                        bool
}

// read takes the attributes of the tag that z stands at.
func (a *attributes) read(z *html.Tokenizer, more bool) {
	*a = attributes{}
	for more {
		var key, val []byte
		key, val, more = z.TagAttr()
		a.set(string(key), val)
	}
}

func (a *attributes) set(key string, val []byte) {
	switch key {
	case "id", "xml:id":
		a.id = val
	case "name":
		if a.id == nil {
			a.id = val
		}
	case "class":
		a.class = val
	case "role":
		a.ariaRole = val
	case "lang":
		if a.lang == nil {
			a.lang = val
		}
	case "xml:lang":
		a.lang = val
	case "href":
		a.href = val
	case "rel":
		a.rel = val
	case "style":
		a.style = val
	case "alt":
		a.alt, a.altGiven = val, true
	case "aria-label":
		a.ariaLabel = val
	case "aria-hidden":
		a.ariaHidden = val
	case "alttext":
		a.alttext = val
	case "hidden":
		a.hidden = true
	default:
		a.setPrefixed(key, val)
	}
}

// setPrefixed takes the attributes of other namespaces, whatever their prefix.
func (a *attributes) setPrefixed(key string, val []byte) {
	prefix, local, ok := strings.Cut(key, ":")
	if !ok || prefix == "xlink" {
		return
	}
	switch local {
	case "type":
		a.types = val
	case "ph":
		a.phonemes = val
	case "alphabet":
		a.alphabet = val
	}
}

// hides reports whether the author took the element away from listeners.
func (a *attributes) hides() bool {
	if a.hidden || string(a.ariaHidden) == "true" || hasToken(a.types, "pagebreak") || hasToken(a.ariaRole, "doc-pagebreak") {
		return true
	}
	if hasToken(a.types, "backlink") || hasToken(a.ariaRole, "doc-backlink") {
		return true
	}
	return len(a.style) > 0 && displayNone.Match(a.style)
}

var displayNone = regexp.MustCompile(`(?i)(?:^|;)\s*(?:display\s*:\s*none|visibility\s*:\s*hidden)`)

// spokenImage returns the text that an image stands for in the line: what its
// author declared to be text, or the letter of a drawn initial.
func (a *attributes) spokenImage() string {
	if hasToken(a.ariaRole, "text") {
		if len(a.ariaLabel) > 0 {
			return string(a.ariaLabel)
		}
		return string(a.alt)
	}
	if r, n := utf8.DecodeRune(a.alt); n == len(a.alt) && unicode.IsUpper(r) {
		return string(a.alt)
	}
	return ""
}

// hasToken reports whether one of the words of list is token.
func hasToken(list []byte, token string) bool {
	for len(list) > 0 {
		i := bytes.Index(list, []byte(token))
		if i < 0 {
			return false
		}
		end := i + len(token)
		if (i == 0 || byteClasses[list[i-1]] == classSpace) && (end == len(list) || byteClasses[list[end]] == classSpace) {
			return true
		}
		list = list[end:]
	}
	return false
}

// apply gives e what its attributes say.
func (e *element) apply(a *attributes) {
	if len(a.lang) > 0 && string(a.lang) != e.lang {
		e.lang = string(a.lang)
	}
	if len(a.types) > 0 || len(a.ariaRole) > 0 {
		if m := structure(a.types, a.ariaRole); m.known {
			e.mark = m
		}
	}
	if len(a.alphabet) > 0 {
		e.alphabet = string(a.alphabet)
	}
	if len(a.phonemes) > 0 {
		e.phonemes = strings.TrimSpace(string(a.phonemes))
		if e.alphabet == "" {
			e.alphabet = "ipa"
		}
	}
	if e.name == "linegroup" || len(a.class) > 0 && anyToken(a.class, stanzaClasses) || len(a.types) > 0 && hasToken(a.types, "z3998:stanza") {
		e.stanza = true
	}
	e.label = a.labelKind(e.name)
}

var (
	stanzaClasses     = []string{"stanza", "linegroup", "linegrp", "line-group", "lg", "strophe"}
	lineNumberClasses = []string{"lnum", "linenum", "linenumber", "line-number", "lineno", "line-num"}
)

func anyToken(list []byte, tokens []string) bool {
	for _, token := range tokens {
		if hasToken(list, token) {
			return true
		}
	}
	return false
}

func (a *attributes) labelKind(name string) labelKind {
	switch {
	case hasToken(a.types, "noteref") || hasToken(a.ariaRole, "doc-noteref"):
		return noteLink
	case name == "a" && bytes.IndexByte(a.href, '#') >= 0:
		return textLink
	case name == "sup":
		return supBox
	case len(a.class) > 0 && anyToken(a.class, lineNumberClasses):
		return lineNumber
	}
	return noLabel
}

var (
	bracketMark = regexp.MustCompile(`^(?:[\[({]\s*(?:\d{1,4}|[a-zA-Z]|[ivxlcIVXLC]{1,6}|[*†‡§¶‖#]+)\s*[\])}]|[*†‡§¶‖]+|[⁰¹²³⁴⁵⁶⁷⁸⁹]+|[↩↑⇑⤴↵⏎⬆^]\x{fe0e}?\x{fe0f}?)$`)
	plainMark   = regexp.MustCompile(`^(?:\d{1,4}|[a-zA-Z]|[ivxlcIVXLC]{1,6}|[fn]{1,2}\.?\s*\d{1,4})[.)]?$`)
	number      = regexp.MustCompile(`^[0-9]{1,5}$`)
	labelWord   = regexp.MustCompile(`(?i)^[^\pL\pN]*(?:note|footnote|endnote|fn|nota|anm|注|註|※)?[^\pL\pN]*(?:\pN{1,4}|[a-z]|[ivxlc]{1,7})?[^\pL\pN]*$`)

	entityDeclaration = regexp.MustCompile(`<!ENTITY\s+([A-Za-z_][\w.-]{0,63})\s+("[^"<%]{0,256}"|'[^'<%]{0,256}')\s*>`)
)

// isNoteMark reports whether text, a link, is a note mark by its looks. A bare
// number or letter is one only in superscript.
func isNoteMark(text string, superscript bool) bool {
	return bracketMark.MatchString(text) || superscript && plainMark.MatchString(text)
}

// holdsWords reports whether text that is declared a note mark is more than a
// mark: some books declare the annotated words themselves.
func holdsWords(text string) bool { return speakable(text) && !labelWord.MatchString(text) }

func isNumber(text string) bool { return number.MatchString(text) }

// speakable reports whether text holds anything to pronounce.
func speakable(text string) bool {
	for _, r := range text {
		if unicode.IsLetter(r) || unicode.IsNumber(r) {
			return true
		}
		switch r {
		case '%', '$', '€', '£', '¥', '&', '@', '+', '=', '°', '©', '™':
			return true
		}
	}
	return false
}
