// Package book holds no code: its tests have documents of every kind spoken by
// the real program and compare each file, sample by sample, with what its
// manifest says, using parsers that are not ours.
package book
