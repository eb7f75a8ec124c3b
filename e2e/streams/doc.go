// Package streams holds no code: its test sends documents to a slow bucket and
// files to slow readers, many at a time, through a gateway in a process of its
// own, and looks at what that costs it: memory, and time for others.
package streams
