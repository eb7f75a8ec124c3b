package manuscript

import (
	"strings"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/ocf"
	"github.com/voicemill/voicemill/scheduler/internal/picture"
)

// Cover is the picture on the front of a book.
type Cover struct {
	MediaType string // one of job.CoverTypes
	Data      []byte
}

// cover returns the picture that the package document names as the cover; nil if
// there is none that can be used: a book is spoken without it.
func (b *book) cover(opf string, p *packageDocument) *Cover {
	for _, href := range p.covers() {
		name, _ := ocf.Resolve(opf, href)
		f := b.archive.File(name)
		if f == nil || f.UncompressedSize64 > job.MaxCoverBytes {
			continue
		}
		raw, err := b.archive.read(name)
		if err != nil {
			continue
		}
		if media, err := picture.Type(raw); err == nil {
			return &Cover{MediaType: media, Data: raw}
		}
	}
	return nil
}

// covers returns where the cover may be, the best first: EPUB 3's property, then the
// name that EPUB 2 gave an item, then the guide.
func (p *packageDocument) covers() (hrefs []string) {
	for i := range p.Items {
		if hasToken([]byte(p.Items[i].Properties), "cover-image") {
			hrefs = append(hrefs, p.Items[i].Href)
		}
	}
	for _, m := range p.Metas {
		if !strings.EqualFold(m.Name, "cover") {
			continue
		}
		if item := p.item(m.Content); item != nil {
			hrefs = append(hrefs, item.Href)
		}
	}
	for _, g := range p.Guide {
		if strings.EqualFold(g.Type, "cover") {
			hrefs = append(hrefs, g.Href)
		}
	}
	return hrefs
}
