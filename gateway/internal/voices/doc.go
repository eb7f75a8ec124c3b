// Package voices knows which voices there are. Workers write them to Postgres
// when they start; a [Directory] keeps a copy in memory, so that a submit is
// checked without asking the database.
package voices
