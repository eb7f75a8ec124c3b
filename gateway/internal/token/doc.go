// Package token verifies the access tokens (JWT) of one OpenID Connect issuer
// and says who carries them. It alone imports go-oidc.
//
// The issuer's configuration and keys are fetched when the first token comes and
// again when a token names a key that is not known, so rotated keys work at
// once. An issuer that is away makes unknown tokens fail with Unavailable and
// nothing else; how often it is asked is bounded, whatever tokens arrive.
//
// Verifying may wait for the issuer, so it never happens on an event loop. Who
// calls keeps the answer.
package token
