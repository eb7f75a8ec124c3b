// Package recur finds a stretch of speech that sounds like one before it, whoever
// spoke it and whatever it says: what a speech model does that repeats itself.
//
// [Find] compares every moment of a piece of audio with every other by its timbre, the
// shape of its spectrum without its level, and looks for the best path along which the
// two go on together. One of them may be a little faster, quieter or otherwise said:
// a model that repeats itself never says the same samples twice. Pauses count for
// nothing. [Expect] tells how much a text makes sound twice by itself; [Twice] is what is left.
//
// It is pure, and takes some thousandth of the time that the audio lasts.
package recur
