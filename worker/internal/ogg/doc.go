// Package ogg reads and writes pages of Ogg, as far as whole books of Opus need it:
// the head of a file with its two packets, and the pages of others numbered and
// summed anew. Packets are never changed.
package ogg
