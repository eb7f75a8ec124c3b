// Package window finds how many texts a server should have at once.
//
// A server that batches by itself makes more of several texts than of one, up to a
// number that depends on the model, the card and what else runs there. Beyond it each
// text only takes longer, and some servers fall over. Latency does not tell where that
// is: in a batch it grows by design. So a [Window] goes by goodput, the seconds of good
// audio that come of a second of the server's work, and has no model of the curve.
//
// # What is measured
//
// The server's time is shared among the texts that it has: one that is one of n costs
// the n-th part of each second. Goodput is the sum of the audio of texts over that of
// what they cost. It needs no end of a period at which nothing is under way, and the
// lengths of texts, the largest noise, stand on both sides of it. A measurement takes
// in the texts that began since the server had as many as the point says, 40 of them or
// twice the point, and counts only if it had about so many throughout.
//
// # What is tried
//
// Points are 1, 2, 3, 4, 6, 8, 12 and on to the most that the server may have, which is
// its owner's to say. One of them is home. Between two measurements there a neighbour
// is measured, and compared with the mean of both: a pace that wanders, or another book
// with other sentences, moves all three. Neighbours are the points at twice and at half
// of home and those beside it, in turn: curves have dents, and a doubling shows more
// than a step. The mean of the last four comparisons is what a point is worth. As long
// as home is confirmed it is left less and less often, at last for every twelfth
// measurement; when its pace changes by a fifth everything else is forgotten.
//
// # Two homes
//
// Home is the point with the greatest worth less a price for each doubling: 2 % while
// nobody waits for a single text ([All]), a ninth while somebody does ([Eased]), which
// is where the curve bends. Both homes use what is learnt at either. The price is what
// half of the latency may cost.
//
// A server that refuses because it has too many gets half of what it had, and nothing
// as high for five minutes, twice as long each time up to an hour, until it has refused
// nothing for an hour. One that refuses a text that is alone, or everything since it last
// refused, says nothing of that: it is left alone for as long as it asks, by its owner.
package window
