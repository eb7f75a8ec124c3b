// Package serve is the end of the helper protocol that a helper program has: it
// reads requests ahead, so that it knows when the worker is gone even while it
// speaks, and answers them one after another.
package serve
