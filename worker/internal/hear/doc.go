// Package hear has the recognisers of a worker hear what its engines spoke, and
// says where other words were heard than were to be spoken.
//
// [Ears] are a pool of their own: addresses that answer OpenAI's transcriptions
// (package transcribe), each with a window, left alone for as long as it asks, and
// tried again after a pause that doubles to half a minute when it failed. There is
// no canary: the next segment finds out, since a sick ear costs it nothing.
//
// An ear is never a reason for a segment to fail. While one is well a segment waits
// for its turn, which holds the engines back. While none is, segments wait for
// Config.Patience in all, counted from when the last one fell sick: the first of them
// so long, those that come later less, and after that none, so that a book goes on at
// the pace of its engines. What was not heard is delivered and counted as unheard. A
// segment whose audio an ear fails on twice, or refuses, is unheard, too.
//
// What a voice's segments are usually like is learned from those that were found
// good (listen.History), a history for each voice, language and pace.
package hear
