// Package weights installs what neural voices need: the weights of models, and
// the library that runs them. Nothing of it is in the repository, and nothing is
// downloaded unless somebody asks.
//
// A [Catalogue] says of each model where its files come from, how long they are
// and what their digests must be; an operator may add a file of their own. A
// [Store] is the folder in which models are installed:
//
//	<folder>/<name>/model.json   what it is, and the digest of every file beside it
//	<folder>/<name>/...          its files, ready for the library
//	<folder>/.downloads/         what was fetched so far; a download goes on from there
//
// A model appears there whole or not at all: it is made in a folder beside and
// renamed. Package registry finds an address for a source, fetch downloads it,
// archive takes one file out of it, and prepare adds to a model's file what the
// library asks of it.
package weights
