// Package wav writes and reads the one kind of audio file that the services deal
// in: WAV with 16-bit PCM.
//
// Writing is strict and repeatable: mono, a header of exactly 44 bytes, no
// further chunks; the same samples always give the same bytes. The header comes
// first, so that a file can be sent while it is made, and therefore needs the
// number of samples beforehand. Data that passes what 32 bits can count makes
// an RF64 file after EBU Tech 3306, with a header of 80 bytes.
//
// Reading is tolerant of what encoders do and strict about what is lost. Chunks
// other than fmt, ds64 and data are skipped, RF64 and the sizes that streaming
// encoders write for "unknown" are understood, several channels are averaged to
// one. Data that ends before its announced size is an error, always.
package wav
