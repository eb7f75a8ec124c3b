// Package outside is the one rule about addresses that clients name: a callback
// to be sent, a bucket to be filled. Who chose the address is not trusted, so
// private, loopback, link-local and special-purpose addresses are refused unless
// the operator allows them.
//
// [Rule.Host] looks at what is written, to refuse early what is plainly wrong.
// What counts is [Rule.Transport], which asks at dial time where the name has
// led, and so cannot be led elsewhere in between. It uses no proxy, which would
// dial past the rule.
package outside
