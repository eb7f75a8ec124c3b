// Package assemble joins the renditions of a chapter into its audio file, and
// ends a job when all its chapters are final.
//
// Joining takes constant memory however long the chapter is: rows are read in
// pages, renditions are streamed from the bucket with the next few already
// opened, and the audio file is streamed back while it is made. The pages are
// read twice: first to lay out the file, since a WAV header tells the length
// and comes first, then to write it.
//
// Package timeline alone knows where each segment begins and how long the silences
// are. The joiner, the manifest and the subtitles all use it, so what they say about
// a file is true to the sample.
//
// A chapter becomes ready only with a proof: the digest over the rendition keys
// that were really joined, in order, equals the plan's, unless the job allows
// failed segments to be missing. A rendition that turns out missing or damaged
// goes back to be rendered, a bounded number of times.
//
// Each class has workers of its own. A try that comes to nothing by itself is
// noted in the outbox, which lets it come again later; after the last one it is
// parked, and its chapter or job fails with the reason. What is away is waited
// for, uncharged. A job of one segment does not queue at all: the worker that
// settled it joins and ends it.
package assemble
