// Package helper runs the programs in which drivers have foreign libraries speak.
//
// A library that makes speech is not safe for concurrent use, may crash on odd
// input, and would make the worker a dynamically linked program. So a driver of
// such a library runs it in helper processes, over the protocol of package wire;
// the helper's own end of it is package serve. A [Pool] owns Config.Helpers of
// them, each of which does one text at a time.
//
//	idle ──request──▶ busy ──done──▶ idle
//	                   │ exits, hangs, breaks the protocol, or the caller leaves
//	                   ▼
//	                 killed ──back-off──▶ started for the next request
//
// A helper that dies or answers nonsense fails the one request it had, with
// kind Engine; the next request starts a new one, after a back-off that doubles
// while starts keep failing. A helper that answers no more is killed at the
// request's deadline. One that died while idle is replaced without anybody
// noticing. The error of a request that ended its helper wraps [engine.ErrDied];
// whether it was the text's fault is for others to find.
package helper
