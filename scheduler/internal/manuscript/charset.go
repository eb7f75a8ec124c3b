package manuscript

import (
	"bytes"
	"io"
	"regexp"
	"slices"
	"sort"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/html/charset"
	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/unicode"
	"golang.org/x/text/transform"
)

// decoded is a document as UTF-8, with the way back to its own bytes.
type decoded struct {
	text   []byte            // UTF-8; bytes that are no text may remain in it
	source []byte            // as delivered; text itself if that is UTF-8
	enc    encoding.Encoding // nil if text is source
	points []point           // in order; the first is at 0
}

// point says that the text from offset text on came from offset source on.
type point struct{ text, source int }

// pointBytes is how much source lies between two points.
const pointBytes = 1024

// decode returns source as UTF-8. The label is the charset that was declared
// outside the document, markup says that the document may declare one itself.
// The name is used in errors.
func decode(source []byte, label, name string, markup bool) (*decoded, error) {
	enc := findEncoding(source, label, markup)
	d := &decoded{text: source, source: source, enc: enc}
	if enc != nil {
		if err := d.convert(); err != nil {
			return nil, invalid("%s is not text in its declared character set", document(name))
		}
	}
	if bytes.IndexByte(d.text, 0) >= 0 {
		return nil, invalid("%s is not text: it holds zero bytes", document(name))
	}
	return d, nil
}

// document names a file of an EPUB, or the only document, in a sentence.
func document(name string) string {
	if name == "" {
		return "the document"
	}
	return "the file " + shown(name)
}

// findEncoding returns nil for UTF-8.
func findEncoding(source []byte, label string, markup bool) encoding.Encoding {
	switch {
	case bytes.HasPrefix(source, []byte("\xef\xbb\xbf")):
		return nil
	case bytes.HasPrefix(source, []byte("\xff\xfe")), bytes.HasPrefix(source, []byte("<\x00?\x00")):
		return unicode.UTF16(unicode.LittleEndian, unicode.IgnoreBOM)
	case bytes.HasPrefix(source, []byte("\xfe\xff")), bytes.HasPrefix(source, []byte("\x00<\x00?")):
		return unicode.UTF16(unicode.BigEndian, unicode.IgnoreBOM)
	}
	if markup {
		if l := declaredInXML(source); l != "" {
			label = l
		}
	}
	valid := utf8.Valid(source)
	if label == "" && markup && !valid {
		if enc, name, certain := charset.DetermineEncoding(source, ""); certain && name != "utf-8" {
			return enc
		}
	}
	if label != "" {
		enc, name := charset.Lookup(label)
		if enc != nil && name != "utf-8" && !strings.HasPrefix(name, "utf-16") && name != "replacement" {
			return enc
		}
	}
	if valid || hasMultibyte(source) {
		return nil
	}
	return charmap.Windows1252
}

var xmlDeclaration = regexp.MustCompile(`^\s*<\?xml[^>]{0,200}?encoding\s*=\s*["']([A-Za-z0-9._:-]{1,40})["']`)

func declaredInXML(source []byte) string {
	if m := xmlDeclaration.FindSubmatch(source[:min(len(source), 300)]); m != nil {
		return string(m[1])
	}
	return ""
}

// hasMultibyte reports whether source holds a valid sequence of several bytes,
// which text in another charset almost never does.
func hasMultibyte(source []byte) bool {
	for len(source) > 0 {
		i := slices.IndexFunc(source, func(b byte) bool { return b >= utf8.RuneSelf })
		if i < 0 {
			return false
		}
		r, n := utf8.DecodeRune(source[i:])
		if r != utf8.RuneError || n > 1 {
			return true
		}
		source = source[i+1:]
	}
	return false
}

// convert fills text and points.
func (d *decoded) convert() error {
	dec := d.enc.NewDecoder()
	d.text = make([]byte, 0, len(d.source)+len(d.source)/4)
	buf := make([]byte, 4*pointBytes)
	for at := 0; at < len(d.source); {
		d.points = append(d.points, point{len(d.text), at})
		end := min(at+pointBytes, len(d.source))
		n, used, err := dec.Transform(buf, d.source[at:end], end == len(d.source))
		if err != nil && err != transform.ErrShortSrc && err != transform.ErrShortDst { //nolint:errorlint // documented to be returned bare
			return err
		}
		if used == 0 {
			return io.ErrUnexpectedEOF
		}
		d.text = append(d.text, buf[:n]...)
		at += used
	}
	return nil
}

// offset returns where in the source the text at offset at came from.
func (d *decoded) offset(at int) int64 {
	if d.enc == nil {
		return int64(at)
	}
	i := sort.Search(len(d.points), func(i int) bool { return d.points[i].text > at }) - 1
	if i < 0 {
		return 0
	}
	p := d.points[i]
	if p.text == at {
		return int64(p.source)
	}
	buf := make([]byte, at-p.text)
	end := min(p.source+pointBytes, len(d.source))
	_, used, _ := d.enc.NewDecoder().Transform(buf, d.source[p.source:end], end == len(d.source))
	return int64(p.source + used)
}

// charsetParam returns the charset of media type parameters.
func charsetParam(params string) string {
	for p := range strings.SplitSeq(params, ";") {
		key, value, _ := strings.Cut(strings.TrimSpace(p), "=")
		if strings.EqualFold(key, "charset") {
			return strings.Trim(value, `"' `)
		}
	}
	return ""
}
