// Package torture ill-treats the gateway as a hostile network would: smuggled
// requests, slow and silent peers, connections cut at every byte, floods,
// oversized everything and broken TLS, through real sockets and beside clients
// that must not notice. Afterwards nothing may be left of it. `make test` runs a
// small part of each; `make torture-gateway` all.
package torture
