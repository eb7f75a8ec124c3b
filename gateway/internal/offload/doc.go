// Package offload runs what may block, database reads above all, away from
// the event loops: a fixed number of goroutines behind a bounded queue. A full
// queue refuses at once, so that a slow database sheds load instead of
// gathering it.
package offload
