// Package blobtest holds the promises of package blob as tests, for any S3
// server that voicemill is to run on.
package blobtest
