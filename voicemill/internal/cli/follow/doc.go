// Package follow watches one job until it ends and shows what changes: as a
// bar that is redrawn on a terminal, as plain lines in a pipe, as one JSON
// document a line for programs. It outlives servers that go away for a while.
package follow
