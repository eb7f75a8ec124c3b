// Package timeline knows where everything sounds: each segment, sentence and word
// of a chapter's audio file.
//
// It is pure, and the one place that knows. The joiner takes the silences from
// [Layout], the manifest its samples, and subtitles their words, so that all of
// them agree to the sample. Segments are added in reading order and nothing is
// kept of those before, so a chapter of any length takes constant memory.
package timeline
