package export

import (
	"cmp"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/scheduler/internal/store"
)

const (
	metadataName = "metadata.json"
	bookStem     = "book"
)

// Layout returns where the files of a job go: those of the formats that were asked for,
// subtitles beside them, the manifest, and what Audiobookshelf reads. Two that
// would go to one place are told apart by a number, in the order of their names. The same job gets the
// same layout. An error says that the template cannot be read.
func Layout(e store.Export, files []store.ExportArtifact, chapters []store.ExportChapter) ([]store.ExportFile, error) {
	template, err := job.ParsePath(cmp.Or(e.Output.Path, job.DefaultPath))
	if err != nil {
		return nil, fmt.Errorf("output.path %w", err)
	}
	l := layout{e: e, template: template, values: values(e), chapters: map[string]store.ExportChapter{}, places: places{files: map[string]bool{}, folders: map[string]bool{}}}
	for _, c := range chapters {
		l.chapters[fmt.Sprintf("chapter-%03d", c.Ordinal)] = c
	}
	list := []store.ExportFile{l.metadata(chapters)}
	for _, f := range files {
		if path, wanted := l.path(f.Name); wanted {
			list = append(list, store.ExportFile{Name: f.Name, Path: path, MediaType: f.MediaType, Bytes: f.Bytes, SHA256: f.SHA256, ObjectKey: f.ObjectKey})
		}
	}
	for i := range list {
		list[i].Path = l.places.take(list[i].Path)
	}
	return list, nil
}

type layout struct {
	e        store.Export
	template job.Path
	values   job.PathValues
	chapters map[string]store.ExportChapter // by the stems of their files
	places   places
}

func values(e store.Export) job.PathValues {
	m := e.Metadata
	return job.PathValues{
		Author: m.Author, Narrator: m.Narrator, Series: m.Series, SeriesIndex: m.SeriesIndex, Title: cmp.Or(m.Title, string(e.JobID)),
		Year: m.Year, Language: e.Language, Job: e.JobID,
	}
}

// path returns where a file goes, and whether it goes anywhere: a shelf would take a book for two that
// has the files of its chapters beside it.
func (l *layout) path(name string) (path string, wanted bool) {
	stem, ext, _ := strings.Cut(name, ".")
	asked := l.e.Output.Formats
	if len(asked) == 0 {
		asked = []string{job.FormatWAV}
	}
	whole := slices.Contains(asked, job.FormatM4B)
	parts := slices.ContainsFunc(asked, func(f string) bool { return f != job.FormatM4B })
	audio := slices.Contains(append(job.Formats(), "m4a"), ext)
	if c, ok := l.chapters[stem]; ok {
		v := l.values
		v.Chapter, v.ChapterTitle = c.Ordinal, c.Title
		return l.template.Chapter(v, ext), parts && (!audio || slices.Contains(asked, ext))
	}
	if stem == bookStem {
		if audio || slices.Contains(job.Subtitles(), ext) {
			whole = whole && (!audio || ext == job.FormatM4B)
		} else {
			whole = true // a book to read
		}
		return l.template.Book(l.values, l.values.Title+"."+ext), whole
	}
	return l.template.Book(l.values, name), true
}

// shelfMetadata is metadata.json as Audiobookshelf writes and reads it.
type shelfMetadata struct {
	Tags          []string       `json:"tags"`
	Chapters      []shelfChapter `json:"chapters"`
	Title         string         `json:"title"`
	Subtitle      *string        `json:"subtitle"`
	Authors       []string       `json:"authors"`
	Narrators     []string       `json:"narrators"`
	Series        []string       `json:"series"`
	Genres        []string       `json:"genres"`
	PublishedYear *string        `json:"publishedYear"`
	PublishedDate *string        `json:"publishedDate"`
	Publisher     *string        `json:"publisher"`
	Description   *string        `json:"description"`
	ISBN          *string        `json:"isbn"`
	ASIN          *string        `json:"asin"`
	Language      *string        `json:"language"`
	Explicit      bool           `json:"explicit"`
	Abridged      bool           `json:"abridged"`
}

type shelfChapter struct {
	ID    int     `json:"id"`
	Start float64 `json:"start"`
	End   float64 `json:"end"`
	Title string  `json:"title"`
}

func (l *layout) metadata(chapters []store.ExportChapter) store.ExportFile {
	m := l.e.Metadata
	s := shelfMetadata{
		Tags: []string{"synthetic voice"}, Chapters: []shelfChapter{}, Title: l.values.Title, Authors: named(m.Author), Narrators: named(m.Narrator),
		Series: []string{}, Genres: []string{}, Description: present(m.Description), Publisher: present(m.Publisher), Language: present(l.e.Language),
	}
	if m.Series != "" {
		name := m.Series
		if m.SeriesIndex > 0 {
			name += " #" + strconv.FormatFloat(m.SeriesIndex, 'f', -1, 64)
		}
		s.Series = []string{name}
	}
	if m.Year > 0 {
		s.PublishedYear = new(strconv.Itoa(m.Year))
	}
	at := 0.0
	for i, c := range chapters {
		s.Chapters = append(s.Chapters, shelfChapter{ID: i, Start: at, End: at + c.Seconds, Title: cmp.Or(c.Title, fmt.Sprintf("Chapter %d", c.Ordinal))})
		at += c.Seconds
	}
	text, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		panic("bug: metadata cannot be encoded: " + err.Error())
	}
	text = append(text, '\n')
	sum := sha256.Sum256(text)
	return store.ExportFile{
		Name: metadataName, Path: l.template.Book(l.values, metadataName), MediaType: "application/json", Bytes: int64(len(text)), SHA256: sum[:], Content: string(text),
	}
}

func named(name string) []string {
	if name == "" {
		return []string{}
	}
	return []string{name}
}

func present(text string) *string {
	if text == "" {
		return nil
	}
	return &text
}

// places are the paths that are taken, in lower case: not every system tells cases
// apart. No path is both a file and a folder.
type places struct{ files, folders map[string]bool }

// take returns path, or if that is taken another like it, and keeps it.
func (p places) take(path string) string {
	names := strings.Split(path, "/")
	for i := range names {
		last := i == len(names)-1
		at := func(name string) string {
			return strings.ToLower(strings.Join(append(slices.Clone(names[:i]), name), "/"))
		}
		stem, ext := names[i], ""
		if dot := strings.LastIndexByte(stem, '.'); last && dot > 0 {
			stem, ext = stem[:dot], stem[dot:]
		}
		for n := 2; p.files[at(names[i])] || last && p.folders[at(names[i])]; n++ {
			names[i] = fmt.Sprintf("%s (%d)%s", stem, n, ext)
		}
		if last {
			p.files[at(names[i])] = true
		} else {
			p.folders[at(names[i])] = true
		}
	}
	return strings.Join(names, "/")
}
