// Package progress turns snapshots of a job into what a person wants to see:
// how far it is, how fast, and when it ends. It is pure: it draws into strings
// and reads no clock, so that the command decides when and where to print.
package progress
