// Package wire makes single calls to a gateway: it adds the key, reads problem
// documents and tries again what failed for a passing reason.
package wire
