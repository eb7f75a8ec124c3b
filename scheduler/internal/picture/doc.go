// Package picture tells whether bytes are a picture that can be a book's cover. It
// reads no more than the head of one.
package picture
