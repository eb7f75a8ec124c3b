// Package operation is what the gateway does, whoever asks: one function for each
// operation, typed, with a context, which returns when it is done. It knows nothing
// of carriers. HTTP (package web), WebSocket and frames (package session) decode a
// request, call a function here and encode what it returns or, with package
// problem, its error.
//
// Every call begins with [Operations.Admit], which finds out who calls and counts
// the call against their limits. [Operations.Kept] does both, and answers for a job,
// without asking anybody, so that an event loop may call it; everything else may
// block and runs on a goroutine of the call's. A poll and a watch wait in package
// watch, a submit in package intake, and each reads from top to bottom.
//
// A context that ends means that nobody waits for the answer any more. What was
// begun and must not be left half done, such as a cancel, is finished all the same.
package operation
