// Package listen compares what a speech recogniser heard in the audio of a segment
// with the text that was to be spoken.
//
// Both sides become tokens first ([Tokens]): words without case, spelled one way,
// numbers as digits; characters for Chinese and Japanese. [Compare] aligns them
// and finds the worst stretch, the run of tokens that agrees least: a mean would
// hide a sentence that is missing from a long segment. [Limits] turn the figures
// into a [Verdict]; a [History] learns the limits from what a voice said before, and
// which words its recogniser never gets right.
//
// Everything here is pure. Package transcribe, below, asks the recognisers.
package listen
