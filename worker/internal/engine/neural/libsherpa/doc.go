// Package libsherpa calls the C library of sherpa-onnx, and espeak-ng's for the
// phonemes, from Go without cgo, and serves both over the protocol of package
// helper. Only the helper binary cmd/voicemill-neural links it, for the reasons that
// package libespeak names.
package libsherpa
