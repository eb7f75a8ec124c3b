// Package shed turns submits away while the intake is slow, so that those it
// takes stay fast: bulk first, interactive last. It is pure but for its mutex:
// the caller brings the time.
//
// A [Controller] is told how long jobs take to become durable and keeps a mean
// that forgets: each measure weighs less the older it is, and without new ones
// the mean itself fades, because a controller that sheds everything would
// otherwise never learn that the intake is well again. Above the lower limit of
// a class a growing share of it is refused, above the upper one all of it. The
// share is spread evenly, not drawn by lot, so equal loads are treated equally.
package shed
