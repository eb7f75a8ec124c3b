// Package m4b writes an MP4 file of the packets of others, as audiobooks are: one
// track of AAC, what the file says of itself, a cover, and chapters for Apple's
// players (a track of text) and for all others (Nero's list).
//
// [ReadHead] reads the tables of one chapter's file. [New] lays a book out of all
// of them, so that its size and each byte before the packets are known before the
// first packet is; the caller sends these behind it, as they are in the chapters'
// files. So a book is written once, from its beginning to its end, and nothing of it
// is held but two bytes for each packet and the offset of each second.
//
// Equal heads and words give equal bytes. The package owns no file and knows no
// bucket; that the packets are those of the heads is its user's matter.
package m4b
