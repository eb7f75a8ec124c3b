// Package blob keeps files whole: uploads, renditions, chapters and books, in
// any object store that speaks S3. It alone imports the S3 client.
//
// An object appears when all of it is stored, or not at all, and is never
// changed afterwards: other bytes get another key. Memory is constant whatever
// the size: one upload of unknown or large size holds one part of five
// mebibytes, and at most two such uploads of a [Store] run at a time, and four of
// readers that take their time; what is in memory already, or is sent once, holds
// none. A
// transfer has no total time-out; it ends when nothing has moved for fifteen
// seconds.
//
// Keys are paths of plain names, tenant first (see [ValidKey]). The layout
// never uses a key as another key's folder, which not every store can hold.
package blob
