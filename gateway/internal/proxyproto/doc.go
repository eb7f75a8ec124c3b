// Package proxyproto reads the header of the PROXY protocol, versions 1 and 2,
// which a load balancer sends before the bytes of the client it speaks for. It is
// pure.
package proxyproto
