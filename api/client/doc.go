// Package client calls the voicemill API. It is a thin layer over package openapi
// below it, which is generated from openapi.yaml and makes the requests: what a
// [Client] adds is when to ask again, idempotency keys, waiting for the end of a
// job, uploads, and answers in the types of packages job and jobdoc, which the
// server has, too. It is safe for concurrent use.
//
// A refusal comes back as a [*Problem], whose text is what the server says and
// every fault it found. Calls that may be repeated without harm (reads, and
// writes with an idempotency key, which Submit and CreateUpload always send) are tried
// again a few times when the server is away or asks to come back later.
package client
