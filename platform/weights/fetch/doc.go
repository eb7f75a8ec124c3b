// Package fetch downloads large files. A download that was cut goes on where it
// ended, in this process or the next; one that makes no progress is given up and
// tried again a few times, with growing pauses.
package fetch
