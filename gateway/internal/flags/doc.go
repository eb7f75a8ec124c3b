// Package flags reads the settings of the gateway's command from its arguments
// and its environment, by the same tags that platform/config reads with kong:
// help, default, placeholder, negatable, and embed with prefix. The gateway does
// not link kong, because a library that looks methods up by name makes the
// linker keep every method of every type: five megabytes of a binary that is to
// start and stay small.
package flags
