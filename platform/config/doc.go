// Package config reads the settings of a command from its arguments and its
// environment into plain structs, and holds the types that settings are made
// of. It alone imports kong; every other package only tags its Config struct.
package config
