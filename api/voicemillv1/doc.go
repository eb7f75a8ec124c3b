// Package voicemillv1 holds the messages of the binary carrier, generated from
// proto/voicemill/v1/frame.proto, whose comments are the contract.
package voicemillv1

//go:generate go run ../internal/genproto ../proto .. voicemill/v1/frame.proto
