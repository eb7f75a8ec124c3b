// Package seal keeps small secrets of tenants encrypted where they are stored:
// AES-256 in GCM, with a key that the operator gives and the database does not
// have. What is sealed says which key sealed it, so that keys can be changed: the
// first of several seals, all of them open.
package seal
