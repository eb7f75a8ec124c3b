// Package loudness measures sound the way that loudness rules are written:
// gated loudness after ITU-R BS.1770-4, true peak, RMS, noise floor, and the
// silence at both ends.
//
// A [Meter] takes the samples as they come, in constant memory whatever the
// length, and gives its [Figures] at any time. It is pure: it knows nothing of
// files, targets or rules. What is told of a rendition once is stored with it,
// so that who joins renditions measures nothing again.
package loudness
