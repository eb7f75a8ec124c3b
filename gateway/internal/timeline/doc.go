// Package timeline tells from a job's manifest when everything sounds. It is pure:
// a manifest comes in as a stream of bytes, a document goes out, and in between is
// one segment at a time, however long the book is.
//
// The manifest counts in samples and in bytes of a text, so that it is exact. The
// timeline counts in seconds and cuts the text, so that a page in a browser needs
// nothing but what it says.
package timeline
