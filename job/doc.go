// Package job is the vocabulary of voicemill: ids, states, limits, the request
// a client makes and the kinds of failure. Every service speaks it; it imports
// only the standard library, owns no state and starts nothing.
package job
