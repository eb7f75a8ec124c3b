// Package triton holds no code: its test has a book spoken by a neural voice in a
// real Triton Inference Server, which it kills meanwhile, and asks that server how
// busy it was.
package triton
