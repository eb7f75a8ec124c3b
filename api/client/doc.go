// Package client calls the voicemill API. A [Client] covers every call of
// openapi.yaml with typed requests and answers; it is safe for concurrent use.
//
// A refusal comes back as a [*Problem], whose text is what the server says and
// every fault it found. Calls that may be repeated without harm (reads, and
// writes with an idempotency key, which Submit and CreateUpload always send) are tried
// again a few times when the server is away or asks to come back later.
package client
