// Package offload runs calls away from the event loops, where they may block: a
// [Pool] gives each a goroutine for as long as it runs, up to a number of them, so
// that a call reads from top to bottom; a [Gate] bounds how many do the same costly thing, such
// as asking Postgres, at a time. Both refuse at once when there is no room, so that
// a slow database sheds load instead of gathering it.
package offload
