// Package engine is the contract between the worker and the inference
// backends that turn text into audio.
//
// One driver package speaks one backend's protocol: espeak runs espeak-ng in
// supervised helper processes and needs no GPU; openaispeech speaks
// POST /v1/audio/speech as GPU servers offer it. Each driver passes the
// conformance suite in enginetest, so the worker can treat them alike.
//
// A driver answers for one attempt. It never retries, because whether a
// segment is tried again, where and with which seed is decided by who owns the
// attempt. What a driver owes its caller is an honest answer in bounded time:
// an engine that hangs, dies, cuts its answer short or says nothing is reported
// as a failure of kind Engine, one that is full as Overloaded with the time it
// asked for ([RetryAfter]), one that is away as Unavailable, and a request that
// can never succeed as Invalid.
package engine
