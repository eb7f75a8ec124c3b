package manuscript

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/voicemill/voicemill/job"
)

var (
	errClosed  = errors.New("the document is closed")
	errStopped = errors.New("the reader of chapters stopped")
)

// invalid returns the error of a document that its owner must change. The
// format makes the public sentence.
func invalid(format string, args ...any) error {
	return fault(job.Invalid, nil, format, args...)
}

// tooLarge returns the error of a document beyond a limit.
func tooLarge(format string, args ...any) error {
	return fault(job.TooLarge, nil, format, args...)
}

func fault(kind job.Kind, cause error, format string, args ...any) error {
	return &job.Error{Op: "manuscript.Open", Kind: kind, Public: sentence(fmt.Sprintf(format, args...)), Err: cause}
}

// sentence gives text a capital and a full stop.
func sentence(text string) string {
	r, n := utf8.DecodeRuneInString(text)
	text = string(unicode.ToUpper(r)) + text[n:]
	if !strings.HasSuffix(text, ".") {
		text += "."
	}
	return text
}

// shown returns a name from a document in a form fit for a public sentence:
// quoted, printable and short.
func shown(name string) string {
	const most = 120
	if len(name) > most {
		name = strings.ToValidUTF8(name[:most], "") + "…"
	}
	return fmt.Sprintf("%q", name)
}

// invalidBecause is invalid with a cause, which is not shown to the owner.
func invalidBecause(cause error, format string, args ...any) error {
	return fault(job.Invalid, cause, format, args...)
}
