package readalong

import (
	"archive/zip"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/voicemill/voicemill/platform/ocf"
)

// containerName is where every EPUB says which file is its package document.
const containerName = "META-INF/container.xml"

// packageFile is the package document of a foreign EPUB 3.
type packageFile struct {
	*document
	metadata, manifest int            // elements
	items              map[string]int // elements, by the name of their file
	removed            map[string]bool
	edits              []edit
	ids                string // a prefix that no id has
}

// openPackage reads the package document and what it says of overlays that are there, which go.
func openPackage(a *archive) (*packageFile, error) {
	name, err := packageName(a)
	if err != nil {
		return nil, err
	}
	raw, err := a.read(name, mostFrame)
	if err != nil {
		return nil, err
	}
	d, err := parse(ocf.Clean(name), raw, func(string) bool { return true })
	if err != nil {
		return nil, err
	}
	p := &packageFile{document: d, items: map[string]int{}, removed: map[string]bool{}, ids: free(raw, "vm-")}
	p.metadata, p.manifest = d.first("metadata"), d.first("manifest")
	root := d.first("package")
	switch {
	case root < 0 || p.metadata < 0 || p.manifest < 0 || d.elements[p.metadata].inside == d.elements[p.metadata].end:
		return nil, unfit("Its package document is not readable.")
	case !strings.HasPrefix(d.elements[root].properties["version"], "3"):
		return nil, unfit("It is not of version 3.")
	}
	for i, e := range d.elements {
		switch {
		case e.name == "item" && e.parent == p.manifest:
			p.item(i)
		case e.name == "meta" && e.parent == p.metadata && strings.HasPrefix(e.properties["property"], "media:"):
			p.edits = append(p.edits, edit{at: e.start, drop: e.end - e.start})
		}
	}
	return p, nil
}

func packageName(a *archive) (string, error) {
	raw, err := a.read(containerName, mostFrame)
	if err != nil {
		return "", err
	}
	d, err := parse(containerName, raw, func(name string) bool { return name == "rootfile" })
	if err != nil {
		return "", err
	}
	for _, e := range d.elements {
		if e.name == "rootfile" && e.properties["media-type"] == "application/oebps-package+xml" {
			return resolve("", "/"+e.properties["full-path"]), nil
		}
	}
	return "", unfit("It names no package document.")
}

// item remembers an item of the manifest, or takes out one of an overlay.
func (p *packageFile) item(i int) {
	e := p.elements[i]
	name := resolve(p.name, e.properties["href"])
	if e.properties["media-type"] == mediaSMIL {
		p.removed[name] = true
		p.edits = append(p.edits, edit{at: e.start, drop: e.end - e.start})
		return
	}
	if _, twice := p.items[name]; !twice && name != "" {
		p.items[name] = i
	}
	if e.properties["media-overlay"] != "" {
		if at := oldOverlay.FindIndex(p.raw[e.start:e.inside]); at != nil {
			p.edits = append(p.edits, edit{at: e.start + at[0], drop: at[1] - at[0]})
		}
	}
}

var oldOverlay = regexp.MustCompile(`\smedia-overlay\s*=\s*(?:"[^"]*"|'[^']*')`)

// content reports whether a file is a document that may have an overlay.
func (p *packageFile) content(name string) bool {
	i, ok := p.items[name]
	return ok && p.elements[i].properties["media-type"] == mediaXHTM
}

// folder returns a folder for what is new, beside the package document, that a does not have.
func (p *packageFile) folder(a *archive) string {
	name := path.Join(path.Dir(p.name), "read-along")
	for taken := true; taken; {
		taken = slices.ContainsFunc(a.Files, func(f *zip.File) bool {
			return strings.HasPrefix(strings.ToLower(ocf.Clean(f.Name)), strings.ToLower(name)+"/")
		})
		if taken {
			name += "-x"
		}
	}
	return name
}

// added is a file that a package names besides.
type added struct {
	id, name, media string
	overlay         string // the id of its own
	millis          int64  // of an overlay
	properties      string
}

// finish returns the package document with what is new.
func (p *packageFile) finish(m Meta, overlays map[string]string, files []added) []byte {
	for name, id := range overlays { // apply brings them into order
		e := p.elements[p.items[name]]
		p.edits = append(p.edits, edit{at: e.start + 1 + e.qualified, text: fmt.Sprintf(` media-overlay="%s"`, id)})
	}
	prefix := func(i int, local string) string {
		e := p.elements[i]
		return string(p.raw[e.start+1:e.start+1+e.qualified-len(e.name)]) + local
	}
	p.edits = append(p.edits,
		edit{at: p.elements[p.metadata].outside, text: spokenMetadata(prefix(p.metadata, "meta"), m, files)},
		edit{at: p.elements[p.manifest].outside, text: itemsOf(prefix(p.manifest, "item"), p.name, files)})
	return apply(p.raw, p.edits)
}

// spokenMetadata says how long the overlays are and who speaks, in elements called meta.
func spokenMetadata(meta string, m Meta, files []added) string {
	var b strings.Builder
	say := func(property, refines, value string) {
		if refines != "" {
			refines = ` refines="#` + refines + `"`
		}
		fmt.Fprintf(&b, "<%s property=%q%s>%s</%[1]s>\n", meta, property, refines, escape(value))
	}
	sum := int64(0)
	for _, f := range files {
		if f.media == mediaSMIL {
			say("media:duration", f.id, clock(f.millis))
			sum += f.millis
		}
	}
	say("media:duration", "", clock(sum))
	say("media:narrator", "", m.Narrator)
	say("media:active-class", "", activeClass)
	say("schema:accessibilityFeature", "", "synchronizedAudioText")
	say("dcterms:provenance", "", m.Synthetic)
	return b.String()
}

// itemsOf lists files in the manifest of the package document called base.
func itemsOf(item, base string, files []added) string {
	var b strings.Builder
	for _, f := range files {
		fmt.Fprintf(&b, `<%s id="%s" href="%s" media-type="%s"`, item, f.id, escape(link(base, f.name)), f.media)
		if f.overlay != "" {
			fmt.Fprintf(&b, ` media-overlay="%s"`, f.overlay)
		}
		if f.properties != "" {
			fmt.Fprintf(&b, ` properties="%s"`, f.properties)
		}
		b.WriteString("/>\n")
	}
	return b.String()
}
