// Package batch decides what forms the next engine call.
//
// It is a pure function: the items that wait, the time and the state of the
// pool go in, a decision comes out. There is no clock, no channel and no memory
// of earlier decisions in it, so every rule can be tested by value:
//
//   - a call leaves when it is full, when its oldest item has waited long
//     enough, or when the engine has nothing else to do;
//   - interactive items lead; bulk items fill a call of theirs to a half, only if
//     no interactive item would be left behind, and lead only when it is their turn;
//   - when more items wait than fit, those nearest in length to the oldest go
//     together, since a batch takes as long as its longest item;
//   - while interactive items come, bulk leaves some calls unused, because items
//     of one engine slow each other down;
//   - when a backlog ends, calls take no more than their share of it and the
//     longest items go first, so that all calls end at about the same time;
//   - an item that may end its engine goes alone.
package batch
