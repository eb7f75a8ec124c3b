// Package inflate unpacks gzip request bodies within limits: a small body must
// not become a large one.
package inflate
