//go:build race

package enginetest

// race: the simulation is built like the test, whose packages are compiled already.
const race = true
