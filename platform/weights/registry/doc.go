// Package registry finds out where a file can be fetched.
//
// A source is one of
//
//	pypi:NAME==VERSION!path    a file inside a wheel of Python's package index
//	npm:NAME@VERSION!path      a file inside a package of npm
//	https://host/path[!path]   any address; http, too
//	file:/path[!path]          a file of this machine
//
// with !path naming a file inside a wheel, zip, tgz or tar.gz. Where the index and
// the registry are is what pip and npm themselves would take on this machine: their
// variables and configuration files, and else the public ones.
package registry
