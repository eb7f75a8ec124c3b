package cli

import (
	"context"
	"path/filepath"
	"strings"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/voicemill/internal/cli/console"
)

// bookFlags are what the files say of the book, if not what the document does.
type bookFlags struct {
	Title       string  `placeholder:"TEXT" help:"Title in the files; default, as of the author: what the document says."`
	Author      string  `placeholder:"NAME" help:"Author in the files."`
	Narrator    string  `placeholder:"NAME" help:"Narrator in the files; default: the voice."`
	Series      string  `placeholder:"NAME" help:"Series that the book is in."`
	SeriesIndex float64 `placeholder:"N" help:"Its place there."`
	Year        int     `placeholder:"N" help:"Year of the book."`
	Description string  `placeholder:"TEXT" help:"What the book is about."`
	Publisher   string  `placeholder:"NAME" help:"Publisher in the files."`
	Cover       string  `placeholder:"FILE" help:"Cover of the files, a .jpg or .png of up to 4 MiB; default: that of an EPUB."`
}

// metadata uploads the cover, if there is one, and returns what was said; nil if
// nothing was.
func (f *bookFlags) metadata(ctx context.Context, con *console.Console, s *Session, key string) (*job.Metadata, error) {
	if *f == (bookFlags{}) {
		return nil, nil //nolint:nilnil // nothing is to be said
	}
	m := &job.Metadata{
		Title: f.Title, Author: f.Author, Narrator: f.Narrator, Series: f.Series, SeriesIndex: f.SeriesIndex, Year: f.Year, Description: f.Description,
		Publisher: f.Publisher,
	}
	if f.Cover == "" {
		return m, nil
	}
	media := coverType(f.Cover)
	if media == "" {
		return nil, usagef("--cover %s is neither .jpg nor .png", f.Cover)
	}
	picture, err := openDocument(f.Cover, con.In)
	if err != nil {
		return nil, err
	}
	defer picture.Close() //nolint:errcheck // only read
	if picture.size > job.MaxCoverBytes {
		return nil, usagef("%s has %d bytes; a cover has at most %d", f.Cover, picture.size, job.MaxCoverBytes)
	}
	m.Cover, err = s.upload(ctx, con, picture, media, key+".cover")
	return m, err
}

// coverType returns the media type that the extension of a picture stands for, or nothing.
func coverType(name string) string {
	switch strings.ToLower(filepath.Ext(name)) {
	case ".jpg", ".jpeg":
		return job.MediaJPEG
	case ".png":
		return job.MediaPNG
	}
	return ""
}
