// Package epub builds small EPUBs for tests, whole ones and, file by file,
// broken ones.
package epub
