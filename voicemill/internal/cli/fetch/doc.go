// Package fetch brings files into a folder so that a file stands under its
// name only when it is whole: it is streamed into NAME.part, goes on where a
// former try ended, is compared with its size and SHA-256, and renamed.
package fetch
