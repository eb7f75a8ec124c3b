// Package limit decides how much of the gateway one API key and one tenant may
// use: requests, characters handed in, and things held at the same time (waiting
// requests, open streams). It is pure but for its mutex: the caller brings the
// time.
//
// Rates are kept by the generic cell rate algorithm in its virtual scheduling
// form (ITU-T I.371, annex A; ATM Forum Traffic Management 4.0, section 4.4.2):
// a subject is one number, the time at which it will have its whole burst again.
// So a request costs one comparison and no memory, and what is left is known
// exactly, which the RateLimit header fields (draft-ietf-httpapi-ratelimit-headers)
// tell the client.
//
// Subjects are kept in two tables of bounded size; the one that was idle longest
// is forgotten first, and with it what it had used.
package limit
