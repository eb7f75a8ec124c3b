// Package peers is the work that the gateway's benchmark gives to every server:
// the same requests, the same key check, the same counters, the same answers.
// The servers below it are small and fair: each does what its library's own
// documentation recommends, and nothing that the gateway does not do.
package peers
