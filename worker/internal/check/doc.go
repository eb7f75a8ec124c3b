// Package check judges the audio of one segment against what was asked for. It is
// the only judge that needs no recogniser.
//
// A speech model that goes wrong often says so with a 200: it stops in
// mid-sentence, repeats itself until its limit, or answers silence or noise. [Judge]
// finds the failures that samples alone can show. It is a pure function and
// knows nothing of words.
//
// How long a text may take is learnt: a [History] remembers how the last audio of
// each voice compared with its prediction, and narrows the limits from "a third to
// three times" to what the voice itself does.
package check
