// Package inflate unpacks gzip request bodies, whole or while they arrive, within
// limits: a small body must not become a large one.
package inflate
