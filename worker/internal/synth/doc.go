// Package synth carries out engine calls: it asks the database what is still
// wanted, has the fleet speak that, and has what was said delivered.
//
// Whose fault a failure was is decided in package fleet. Here it is carried out: a
// text that is to blame pays one of its attempts; one that nothing is known against
// goes back to the bus, and its pool pulls nothing until an engine is well.
package synth
