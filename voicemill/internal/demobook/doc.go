// Package demobook holds The Pilot's Rule, the story that `make demo` turns
// into audio. The chapters are the XHTML files under book, written by hand and
// embedded; [Write] zips them into an EPUB 3.
//
// The book is also a test piece for whatever reads it: it has dialogue, an
// epigraph, a block quotation, verse, a list, a table, footnotes with links
// back, words in Portuguese, Latin and French, and the numbers, dates and
// abbreviations that speech engines stumble over.
package demobook
