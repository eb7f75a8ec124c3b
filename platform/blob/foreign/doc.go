// Package foreign puts files into buckets that belong to somebody else: the
// owners of jobs, who name a place and give credentials for it.
//
// Neither is trusted. Every connection keeps the rule of package outside,
// redirects are not followed, little of an answer is read, and what a store says
// of a failure is told on by its code only, never by its own text. What is told
// names neither an address nor a credential.
//
// An object appears whole or not at all. One that is there already with the same
// bytes is left alone, which makes [Bucket.Put] safe to repeat; one that is larger
// than a part goes in parts, of which those that arrived before an interruption are not
// sent again. The store compares the MD5 of each part, and is asked afterwards
// what it keeps.
package foreign
