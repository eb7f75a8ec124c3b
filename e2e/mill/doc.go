// Package mill holds no code: its tests have a book spoken by an engine that answers
// at once, and print what each segment costs everything else.
package mill
