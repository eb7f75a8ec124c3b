// Package problem says what went wrong in the words of the contract: an [Error] has
// a [Slug] from a table and becomes a [Document] (RFC 9457), which every carrier can
// carry. Nothing in it comes from the text of an error but its Public sentence.
package problem
