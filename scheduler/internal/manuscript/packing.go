package manuscript

import (
	"bytes"
	"encoding/xml"
	"path"
	"slices"
	"strings"

	"golang.org/x/net/html/charset"

	"github.com/voicemill/voicemill/platform/ocf"
)

// containerName is where every EPUB says which file is its package document.
const containerName = "META-INF/container.xml"

// container is META-INF/container.xml.
type container struct {
	Roots []struct {
		Path string `xml:"full-path,attr"`
		Type string `xml:"media-type,attr"`
	} `xml:"rootfiles>rootfile"`
}

// packageDocument is the OPF of EPUB 2 and 3, as it is written.
type packageDocument struct {
	Titles    []titleElement `xml:"metadata>title"`
	Creators  []creator      `xml:"metadata>creator"`
	Languages []string       `xml:"metadata>language"`
	OldTitles []titleElement `xml:"metadata>dc-metadata>Title"` // OEB 1.2
	Dates     []struct {
		Event string `xml:"event,attr"` // EPUB 2
		Text  string `xml:",chardata"`
	} `xml:"metadata>date"`
	Descriptions []string       `xml:"metadata>description"`
	Publishers   []string       `xml:"metadata>publisher"`
	Metas        []metaElement  `xml:"metadata>meta"`
	Items        []manifestItem `xml:"manifest>item"`
	Spine        struct {
		TOC  string `xml:"toc,attr"`
		Refs []struct {
			ID     string `xml:"idref,attr"`
			Linear string `xml:"linear,attr"`
		} `xml:"itemref"`
	} `xml:"spine"`
	Guide []struct {
		Type  string `xml:"type,attr"`
		Title string `xml:"title,attr"`
		Href  string `xml:"href,attr"`
	} `xml:"guide>reference"`
}

type titleElement struct {
	ID   string `xml:"id,attr"`
	Text string `xml:",chardata"`
}

type creator struct {
	ID   string `xml:"id,attr"`
	Role string `xml:"role,attr"` // EPUB 2
	Text string `xml:",chardata"`
}

type metaElement struct {
	ID       string `xml:"id,attr"`
	Name     string `xml:"name,attr"` // EPUB 2
	Content  string `xml:"content,attr"`
	Property string `xml:"property,attr"`
	Refines  string `xml:"refines,attr"`
	Text     string `xml:",chardata"`
}

type manifestItem struct {
	ID         string `xml:"id,attr"`
	Href       string `xml:"href,attr"`
	Type       string `xml:"media-type,attr"`
	Properties string `xml:"properties,attr"`
	Fallback   string `xml:"fallback,attr"`
}

// encryption is META-INF/encryption.xml.
type encryption struct {
	Data []struct {
		Method struct {
			Algorithm string `xml:"Algorithm,attr"`
		} `xml:"EncryptionMethod"`
		Reference struct {
			URI string `xml:"URI,attr"`
		} `xml:"CipherData>CipherReference"`
	} `xml:"EncryptedData"`
}

// obfuscations are the algorithms that only veil fonts.
var obfuscations = []string{"http://www.idpf.org/2008/embedding", "http://ns.adobe.com/pdf/enc#RC"}

// unmarshal reads the XML file called name. The decoder knows no entities but
// HTML's and expands none that a document declares; its depth is bounded.
func (a *archive) unmarshal(name string, v any) error {
	raw, err := a.frame(name)
	if err != nil {
		return err
	}
	dec := xml.NewDecoder(bytes.NewReader(withoutUTF16(raw)))
	dec.Strict, dec.Entity, dec.CharsetReader = false, xml.HTMLEntity, charset.NewReaderLabel
	if err := dec.Decode(v); err != nil {
		return invalidBecause(err, "the file %s in the EPUB is not readable XML", shown(name))
	}
	return nil
}

// withoutUTF16 converts UTF-16 with a byte order mark, which encoding/xml does
// not know, and drops the mark of UTF-8.
func withoutUTF16(raw []byte) []byte {
	if enc := findEncoding(raw[:min(len(raw), 4)], "utf-8", false); enc != nil && len(raw) >= 2 && (raw[0] >= 0xfe || raw[0] == 0 || raw[1] == 0) {
		if text, err := enc.NewDecoder().Bytes(raw); err == nil {
			raw = xmlDeclaration.ReplaceAll(text, nil)
			raw = bytes.TrimPrefix(raw, []byte("\ufeff"))
			if rest, ok := bytes.CutPrefix(bytes.TrimSpace(raw), []byte("<?xml")); ok {
				if _, after, ok := bytes.Cut(rest, []byte("?>")); ok {
					raw = after
				}
			}
		}
	}
	return bytes.TrimPrefix(raw, []byte("\xef\xbb\xbf"))
}

// packageName returns the name of the package document.
func (a *archive) packageName() (string, error) {
	if !a.has(containerName) {
		return "", invalid("the document is not an EPUB: it lacks the file %s", shown(containerName))
	}
	var c container
	if err := a.unmarshal(containerName, &c); err != nil {
		return "", err
	}
	for _, root := range c.Roots {
		if root.Type == "application/oebps-package+xml" || root.Type == "" && strings.EqualFold(path.Ext(root.Path), ".opf") {
			name, _ := ocf.Resolve("", "/"+root.Path)
			if !a.has(name) {
				return "", invalid("the EPUB lacks its package document %s", shown(name))
			}
			return name, nil
		}
	}
	return "", invalid("the EPUB names no package document in %s", shown(containerName))
}

// protected returns the files that are encrypted with anything but a veil for
// fonts.
func (a *archive) protected() (map[string]bool, error) {
	const name = "META-INF/encryption.xml"
	if !a.has(name) {
		return nil, nil
	}
	var e encryption
	if err := a.unmarshal(name, &e); err != nil {
		return nil, err
	}
	found := map[string]bool{}
	for _, d := range e.Data {
		if !slices.Contains(obfuscations, d.Method.Algorithm) {
			file, _ := ocf.Resolve("", "/"+d.Reference.URI)
			found[strings.ToLower(file)] = true
		}
	}
	return found, nil
}

// mainTitle returns the title to show: the one marked as main, else the first.
func (p *packageDocument) mainTitle() string {
	titles := append(slices.Clone(p.Titles), p.OldTitles...)
	byID := make(map[string]string, len(titles))
	for _, t := range titles {
		byID["#"+t.ID] = folded(t.Text)
	}
	for _, m := range p.Metas {
		if m.Property == "title-type" && strings.TrimSpace(m.Text) == "main" && byID[m.Refines] != "" {
			return byID[m.Refines]
		}
	}
	for _, t := range titles {
		if text := folded(t.Text); text != "" {
			return text
		}
	}
	return ""
}

// folded returns s with its white space folded.
func folded(s string) string { return strings.Join(strings.Fields(s), " ") }

// item returns the manifest item with that id.
func (p *packageDocument) item(id string) *manifestItem {
	for i := range p.Items {
		if p.Items[i].ID == id {
			return &p.Items[i]
		}
	}
	return nil
}

// readable returns item, or the first of its fallbacks that is a document.
func readable(item *manifestItem, byID map[string]*manifestItem) *manifestItem {
	const longestChain = 8
	for range longestChain {
		switch strings.ToLower(strings.TrimSpace(item.Type)) {
		case TypeXHTML, TypeHTML, "application/x-dtbook+xml", "text/x-oeb1-document", "application/xml", "text/xml", "":
			return item
		}
		if item = byID[item.Fallback]; item == nil {
			return nil
		}
	}
	return nil
}
