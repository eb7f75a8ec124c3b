// Package transcode turns samples into compressed audio by ffmpeg, one child
// process for each stream, fed and read through pipes: ffmpeg holds what the
// pipes do not take, so that memory is bounded and a slow reader slows the
// source. The number of processes is bounded; one more is refused.
//
// What ffmpeg can make is asked once, at the start. A machine without ffmpeg has
// no formats.
//
// A process ends with its stream: it is killed when the stream is closed, when
// its context ends and when this process dies.
package transcode
