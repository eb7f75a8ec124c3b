// Package cli is the client half of the voicemill command: it reads the
// command line, talks to a gateway through package client, and shows what
// comes back to a person or, with --json, to a program. Every failure leaves
// through [Run] as a sentence and one of the Exit codes.
package cli
