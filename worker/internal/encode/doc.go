// Package encode makes the files that listeners want of the WAV of each chapter,
// and binds them to whole books.
//
// A chapter is encoded as soon as it is joined, while others are still spoken:
// its WAV is streamed from the bucket through an ffmpeg of its own into a
// temporary file, which is counted packet by packet before it is stored and a row
// names it. The book is bound by copying the packets of the chapters' files, one
// after the other; nothing is encoded twice, and no ffmpeg reads them again. First
// its head is laid out of what the chapters' files say of their packets
// (worker/internal/m4b; of an MP3 ffmpeg writes what it says of itself), so that
// its size is known; then it is written once, straight into the bucket, while the
// chapters are read. Memory does not depend on how long anything is, but for two
// bytes for each packet of an M4B, which are 5 KB a minute.
//
// An encoder puts samples before the sound and fills up its last packet. Both
// stay in the book where a chapter begins, so a chapter's mark is where its sound
// begins, counted in packets, not in seconds of audio.
//
// Equal input gives equal bytes: one thread, no dates, no versions of encoders in
// the files.
//
// When something is due, how often it is tried and what becomes of it then is
// the matter of package assemble, which calls this one.
package encode
