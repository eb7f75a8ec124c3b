// Package api is what the gateway answers: it finds the route of a call, asks
// who calls, checks everything about the request and answers from the store,
// the bucket and the intake. It does not know what carried the call: a carrier
// hands in an [Exchange] and turns the [Answer] into bytes, so that HTTP,
// WebSocket and frames share every handler.
//
// [API.Serve] runs on an event loop and never blocks: what can be answered from
// memory is, everything else goes to a bounded pool. A submit that needs no
// database goes from the loop straight to the intake, and is answered by the
// committer's callback. A call that waits for a job is a waiter in a hub, not a
// goroutine.
//
// A watch is a [Feed]: also a waiter in the hub, which reads the job only when
// its peer can take an event, so that a slow peer gets the newest and costs
// nothing meanwhile.
//
// Every refusal is a problem document (RFC 9457) made from a table of slugs;
// nothing in it comes from an error's text but its Public sentence.
package api
