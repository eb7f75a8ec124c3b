// Package level brings the segments of a chapter to one loudness and a file to
// the level that a shop or a broadcaster demands.
//
// It is pure and knows nothing of files or rows. [Target] has the figures of
// each level by name. A [Mix] takes what was measured of the segments and says
// how loud each is to be; a [Writer] applies the gains to the samples on their
// way and holds the peaks under a ceiling by looking ahead. It takes as many
// samples as it gives, each at its own place: whatever is known of where
// something sounds stays true. The same samples always give the same samples.
//
// [Target.Report] holds the finished file against the figures. It checks
// conformance and approves nothing: who accepts a file is for the shop to say.
package level
