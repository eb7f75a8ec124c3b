// Package console is where a command reads and writes: the three standard
// streams, whether a person or a program is at the other end, and a screen for
// what is redrawn in place. It knows nothing about jobs.
package console
