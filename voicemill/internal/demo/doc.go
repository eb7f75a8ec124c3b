// Package demo shows the main job on real input: it starts everything, has the
// repository's own book turned into audio, receives and verifies the callback,
// and says where to listen.
package demo
