// Package enginetest holds the conformance suite that every engine passes, so
// that the worker can treat them alike.
package enginetest
