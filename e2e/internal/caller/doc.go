// Package caller is a client of voicemill's HTTP API for black-box tests. It
// speaks plain HTTP, as a stranger would who has read the contract only.
package caller
