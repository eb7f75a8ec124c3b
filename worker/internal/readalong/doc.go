// Package readalong writes EPUB 3 books that read along: media overlays (SMIL) say
// which words light up while which stretch of a chapter's audio plays. It is pure:
// text and times come in, in reading order, and a ZIP goes out as a stream.
//
// [Annotate] takes the EPUB that was spoken. Each sentence is looked up at the bytes
// that the plan remembers (package manuscript of the scheduler), an element around
// it gets an id, or a span is put around it, and everything else stays as it is, byte
// for byte: files that are not changed are copied without being unpacked. [Compose]
// makes a plain book of chapters and sentences, for what was no EPUB 3.
//
//	archive   the foreign EPUB, with limits against bombs
//	markup    a document as elements and texts, each with its bytes
//	locate    where in a document the letters of a segment stand
//	mark      which elements make up a sentence, and what is written into the document
//	overlay   which stretch of audio belongs to which element
//	opf       the package document, read and changed
//	annotate, compose   the two ways of a [Book]
//
// Where a sentence cannot be found, the element in which its segment begins lights up;
// where there is none, nothing does: [Counts] tells how often. A sentence that crosses the
// border of an element lights up piece by piece.
//
// The clips of one chapter follow each other without a gap, so all of its audio is heard.
// One document of the book is in memory at a time, with what is said of it.
//
// Equal input gives equal bytes: all times in the ZIP are those of 1980.
package readalong
