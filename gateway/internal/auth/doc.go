// Package auth tells who calls: it turns an API key into an [Identity] and
// recognizes what may be an access token. Only
// the SHA-256 of a key is stored, so a key is looked up by its hash; answers
// are kept in memory for a short time, good ones for longer than bad ones, so
// that the database is not asked for every request and a revoked key stops
// working soon.
package auth
