package encode

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/voicemill/voicemill/worker/internal/store"
)

// synthetic is what every file says of its voice.
const synthetic = "Spoken by a synthetic voice, made with voicemill."

// tag is one thing that a file says, by ffmpeg's name for it.
type tag struct{ name, value string }

// book returns what every file of a job says.
func book(j store.Encoding) []tag {
	m := j.Metadata
	tags := []tag{
		{"album", m.Title},
		{"artist", m.Author},
		{"album_artist", m.Author},
		{"composer", m.Narrator}, // where players look for who reads
		{"genre", "Audiobook"},
		{"comment", synthetic},
		{"description", m.Description},
		{"publisher", m.Publisher},
	}
	if l := language(j.Language); l != unknown {
		tags = append(tags, tag{"language", l})
	}
	if m.Year > 0 {
		tags = append(tags, tag{"date", strconv.Itoa(m.Year)})
	}
	if m.Series != "" {
		group := m.Series
		if m.SeriesIndex > 0 {
			index := strconv.FormatFloat(m.SeriesIndex, 'f', -1, 64)
			tags, group = append(tags, tag{"series-part", index}), group+" #"+index
		}
		tags = append(tags, tag{"series", m.Series}, tag{"grouping", group})
	}
	return tags
}

// oneText puts the comment behind the description: Vorbis comments, as ffmpeg writes
// them, have one field for both.
func oneText(tags []tag) []tag {
	var texts []string
	var rest []tag
	for _, t := range tags {
		switch {
		case t.name != "description" && t.name != "comment":
			rest = append(rest, t)
		case t.name == "description" && t.value != "":
			texts = slices.Insert(texts, 0, t.value)
		case t.value != "":
			texts = append(texts, t.value)
		}
	}
	return append(rest, tag{"description", strings.Join(texts, "\n\n")})
}

// title returns what a chapter is called.
func title(ordinal int, title string) string {
	return cmp.Or(title, fmt.Sprintf("Chapter %d", ordinal))
}

// mark is where a chapter of a book is, in samples at the rate of its files.
type mark struct {
	title      string
	start, end int64
}

// metadata writes tags and marks as ffmpeg reads them.
func metadata(tags []tag, marks []mark) string {
	var s strings.Builder
	s.WriteString(";FFMETADATA1\n")
	for _, t := range tags {
		if t.value != "" {
			fmt.Fprintf(&s, "%s=%s\n", t.name, escape(t.value))
		}
	}
	for _, m := range marks {
		fmt.Fprintf(&s, "[CHAPTER]\nTIMEBASE=1/%d\nSTART=%d\nEND=%d\ntitle=%s\n", bookRate, m.start, m.end, escape(m.title))
	}
	return s.String()
}

// escape writes a value as ffmpeg reads it. A backslash at its end cannot be
// written: ffmpeg takes it for part of the line's end, so no file has one there.
func escape(value string) string {
	return strings.NewReplacer(`\`, `\\`, "=", `\=`, ";", `\;`, "#", `\#`, "\n", "\\\n").Replace(plain(value))
}

// plain is a value as every file has it.
func plain(value string) string {
	return strings.ReplaceAll(strings.TrimRight(value, `\`), "\r", "")
}

// languages are the names that MP4 has for languages, three letters of ISO 639-2, of
// those that have two. Others are not said.
//
//nolint:gochecknoglobals // a table
var languages = map[string]string{
	"ar": "ara", "cs": "ces", "da": "dan", "de": "deu", "el": "ell", "en": "eng", "es": "spa", "fi": "fin", "fr": "fra", "he": "heb", "hi": "hin",
	"hu": "hun", "it": "ita", "ja": "jpn", "ko": "kor", "nl": "nld", "no": "nor", "pl": "pol", "pt": "por", "ro": "ron", "ru": "rus", "sv": "swe",
	"tr": "tur", "uk": "ukr", "vi": "vie", "zh": "zho",
}

const unknown = "und"

func language(tag string) string {
	base, _, _ := strings.Cut(strings.ToLower(tag), "-")
	if len(base) == 3 {
		return base
	}
	return cmp.Or(languages[base], unknown)
}
