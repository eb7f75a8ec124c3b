// Package frames is a client of the binary carrier: one connection, many calls
// at a time, each on a stream of its own. The messages are those of
// api/proto/voicemill/v1/frame.proto; the methods speak the words of packages
// job and jobdoc. It does not connect again by itself: when [Conn.Done] is
// closed, dial again and go on after the last version that was seen.
package frames
