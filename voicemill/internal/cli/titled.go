package cli

import (
	"fmt"
	"strings"
	"unicode"

	"github.com/voicemill/voicemill/api/jobdoc"
)

// maxTitled is how many bytes of a title become part of a file's name: two of them,
// and what is between, stay below the 255 that file systems take.
const maxTitled = 100

// titled returns the name of a file after the book and its chapter. A file of
// neither, or of a book without a title, keeps its name.
func titled(d jobdoc.Document, name string) string {
	book := fileTitle(d.Title)
	stem, extension, _ := strings.Cut(name, ".")
	if book == "" || extension == "" {
		return name
	}
	if stem == "book" {
		return book + "." + extension
	}
	for _, ch := range d.Chapters {
		if stem != fmt.Sprintf("chapter-%03d", ch.Ordinal) {
			continue
		}
		name := fmt.Sprintf("%s - %0*d", book, max(2, len(fmt.Sprint(len(d.Chapters)))), ch.Ordinal)
		if title := fileTitle(ch.Title); title != "" {
			name += " - " + title
		}
		return name + "." + extension
	}
	return name
}

// fileTitle makes a title part of a file's name on every system.
func fileTitle(title string) string {
	clean := strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || strings.ContainsRune(`/\:*?"<>|`, r) {
			return ' '
		}
		return r
	}, title)
	clean = strings.Join(strings.Fields(clean), " ")
	if len(clean) > maxTitled {
		clean = strings.ToValidUTF8(clean[:maxTitled], "")
	}
	return strings.Trim(clean, " .")
}
