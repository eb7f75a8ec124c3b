// Package firstkey makes a tenant's first API key and keeps its secret in a file
// that its owner alone can read. It can be repeated at any time: what a power cut
// or a full disk interrupted is finished, and a key that is there stays.
package firstkey
