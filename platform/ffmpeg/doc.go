// Package ffmpeg runs ffmpeg and ffprobe as child processes. It owns where they
// are, what they can encode and how they end; which arguments a format takes is
// its users' matter.
//
// [Find] asks a program once what it can make. [Program.Start] gives a stream
// that is written and read while it runs, [Program.Run] does one piece of work
// to its end, [Program.Measure] tells what a file really holds.
//
// Memory is bounded by ffmpeg and the pipes: what they do not take, waits. A
// process ends with its context, and on Linux the kernel kills it when this
// process dies. It has no access to standard input but what it is given.
package ffmpeg
