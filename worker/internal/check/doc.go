// Package check judges the audio of one segment against what was asked for.
//
// A speech model that goes wrong often says so with a 200: it stops in
// mid-sentence, repeats itself until its limit, or answers silence. [Judge]
// finds the failures that samples alone can show. It is a pure function and
// knows nothing of words.
package check
