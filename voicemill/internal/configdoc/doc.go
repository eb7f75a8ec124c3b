// Command configdoc writes docs/configuration.md: an introduction, and every
// setting and every rule of every command, as the commands' own structs name them.
package main

//go:generate go run . ../../../docs/configuration.md
