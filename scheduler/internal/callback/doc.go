// Package callback tells the owners of jobs what happened, over HTTP.
//
// Each event is a row of deliveries, stored in the transaction of the state
// change it tells of (invariant I7). The Dispatcher claims due rows, builds the
// body once, from the job as it then is, signs it as the Standard Webhooks
// specification says, sends it and records the attempt. A delivery keeps its id
// and its bytes through all attempts. If the process dies after sending and
// before recording, the claim runs out and the same delivery is sent again: at
// least once, with one id.
//
//	pending ──2xx──▶ delivered
//	   │ ▲
//	   │ └── anything else: again after the schedule, or Retry-After
//	   └──▶ failed: 410 Gone, or the schedule is spent
//
// The receiver is chosen by a client, so it is not trusted: private, loopback
// and link-local addresses are refused at dial time, whatever their name
// resolved to; redirects are not followed; no proxy is used; little of the
// answer is read.
package callback
