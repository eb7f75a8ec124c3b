// Package libespeak calls the espeak-ng library from Go without cgo and serves
// it over the protocol of package helper. Only the helper binary
// cmd/voicemill-espeak links it: a binary that loads shared libraries needs the
// system's dynamic linker, and the other binaries are static. The separate
// process also keeps a crash in the library from ending the worker.
//
// The library is loaded anew for each request. It keeps state between texts
// that no function of it resets (the phase of the wave generator, for one), so
// that the same text would sound, and even last, slightly different the second
// time. Unloading throws that state away, for about 2.5 ms that are spent while
// the helper waits for its next request.
package libespeak
