// Package manuscript reads a document into chapters and segments: the text
// that will be spoken, in order, with the exact bytes it came from.
//
// It is pure: bytes in, values out. It opens no file, starts no goroutine,
// logs nothing and keeps nothing between documents. One document of the book
// and one chapter are in memory at a time, whatever the length of the book.
//
// The way of the bytes:
//
//	archive   a ZIP with every limit against bombs        (EPUB only)
//	packing   container.xml, the package, navigation      (EPUB only)
//	charset   bytes to UTF-8, and offsets back
//	markup    tags to passages: what is spoken, what is not
//	markdown, plain   the same passages from other notations
//	passage   one paragraph or heading: folded, normalised, traced to its source
//	binder    passages to chapters
//	cut       a passage to segments, by sentences and predicted seconds
//
// docs/manuscript.md states every reading rule. Every fault of a document is
// a [job.Error] of kind Invalid or TooLarge whose Public sentence names it.
package manuscript
