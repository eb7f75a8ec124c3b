// Package diskfull fills the disk of a `voicemill up` while it renders. It mounts
// a small file system of its own, for which it must be root.
package diskfull
