// Package fault holds no code: its tests kill, stop and cut the real processes
// of voicemill in the middle of their work and check the invariants of
// docs/architecture.md from outside.
package fault
