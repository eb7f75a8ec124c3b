// Package strictjson reads foreign JSON into Go values and says everything
// that is wrong with it, each fault with a JSON pointer: unknown members, wrong
// types, null, members given twice. The standard decoder stops at the first
// fault, ignores the case of names and takes the last of two equal members;
// clients that misspell a field deserve to hear of it.
//
// It is for request bodies: objects of strings, numbers, booleans, lists, maps
// with string keys and times. Depth is bounded.
package strictjson
