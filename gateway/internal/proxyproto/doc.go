// Package proxyproto reads the header of the PROXY protocol, version 2, which a
// load balancer sends before the bytes of the client it speaks for. It is pure.
// Version 1, which is text, is not read: its end is not known before it is there.
package proxyproto
