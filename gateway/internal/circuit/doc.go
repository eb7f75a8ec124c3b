// Package circuit keeps the gateway from waiting for something that is away.
// A [Breaker] counts failures in a row; past a few of them it refuses at once
// for a moment, then lets one caller try. Only failures of Kind Unavailable
// count: a row that is not there is an answer.
package circuit
