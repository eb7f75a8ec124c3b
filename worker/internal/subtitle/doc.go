// Package subtitle cuts spoken text into cues and writes them as SRT, WebVTT and
// ASS. It is pure; times come from package timeline.
//
// A cue has one or two lines of up to 42 columns (a letter of Chinese or Japanese
// has two), stands for a second at least where silence allows it and seven at
// most, ends with a sentence or a clause where it can, and never spans a pause
// between segments. These are the habits of broadcasters and of streaming
// services. In WebVTT and ASS each word lights up as it sounds.
//
// [Cutter] holds back one cue at a time, so a book of any length takes constant memory.
package subtitle
