// Package novel writes texts of any length in plain English for proofs that need a
// book: the same each time, and hardly any two paragraphs alike, so that nothing is
// reused that was spoken before.
package novel
