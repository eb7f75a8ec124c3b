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
// # A text
//
//	the address is sick           nothing: the text goes elsewhere, or waits
//	answered badly, canary well   again; then the text is charged: refused, silent, too short, too long
//	failed, canary well           again, alone; then the text is charged
//	ended the engine              again, alone; the second time it is poison
//
// A call of several texts that fails as a whole is halved. Whatever is spoken
// meanwhile speaks for the engine like a canary. As long as several texts have
// broken an engine that speaks nothing but canaries, none of them is to blame.
//
// # A pool
//
// A fleet none of whose addresses is well takes no work ([Fleet.Ready]): what it
// has is given back at once with [ErrWaits], which charges nobody, and State says
// since when and why. An address that refuses its canary as it refuses everything,
// because of a wrong key or the name of a model, is misconfigured: it is sick like
// any other, but loudly.
package fleet
