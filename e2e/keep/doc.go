// Package keep lets a whole deployment work, deletes at random what it has made,
// lets time pass for the rest, and kills every part of it again and again. At the
// end the bucket holds what the rows name, and nothing else.
package keep
