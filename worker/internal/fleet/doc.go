// Package fleet has the engines of one pool and decides who pays when one of them
// fails.
//
// A driver (package engine) speaks to one address and only says what happened. A
// [Fleet] owns what is the same for every protocol: which addresses are well, how
// many requests each has, how long one that is full is left alone, and whose fault
// a failure was. It is the only place where that is decided.
//
// # An address
//
//	proving ──canary speaks──▶ well ──a doubtful failure──▶ questioned
//	   ▲                        ▲  ▲                            │
//	   │                        │  └───────canary speaks────────┤
//	   └─ (new)                 │                               │ canary fails
//	                            └──canaries speak── sick ◀──────┘
//
// Whatever an address fails with, the failure is doubtful: text and engine are both
// under suspicion. A canary decides, a short sentence in the same voice, judged like
// any audio. While it is asked, the address gets nothing else. One that is sick is
// asked again after a pause that doubles to half a minute, by the fleet itself:
// nobody's text is used to find out. After that it begins with one request at a
// time. One that could not even be reached is sick at once. One that is full rests
// for as long as it asks, whatever it says to others meanwhile.
//
// An address that has work and ends none of it for three times as long as that should
// take has stalled, whatever its health checks say: its calls are given up, which is
// one more doubtful failure. How many texts an address has at once, of a server that
// batches by itself, package window finds out: [Fleet.Room] says it to whoever brings
// the work, and [Fleet.Ease] is told when somebody waits for it.
//
// # A text
//
//	the address is sick           nothing: the text goes elsewhere, or waits
//	answered badly, canary well   again; then the text is charged: refused, silent, too short, too long
//	failed, canary well           again, alone; then the text is charged
//	ended the engine              again, alone; the third to sixth time that it was alone it is poison
//
// A call of several texts that fails as a whole is halved. Whatever is spoken
// meanwhile speaks for the engine like a canary. A text that ended an engine alone is
// tried again only by one that has spoken canaries, alone too, for four times as long
// as the text lasts: engines that are killed from outside end in those, which clears
// the text, and for a while it takes more deaths to condemn one. As long as several
// texts have broken an engine that speaks nothing but canaries, none is to blame.
//
// # A pool
//
// A fleet none of whose addresses is well takes no work ([Fleet.Ready]): what it
// has is given back at once with [ErrWaits], which charges nobody, and State says
// since when and why. An address that refuses its canary as it refuses everything,
// because of a wrong key or the name of a model, is misconfigured: it is sick like
// any other, but loudly.
package fleet
