// Package clientip tells which address a request comes from when proxies that
// are trusted stand between. It is pure.
package clientip
