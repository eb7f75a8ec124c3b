// Package config reads the settings of a command into plain structs, and holds
// the types that settings are made of. One struct describes them all: a field is
// a flag, a variable in the environment and a key of a YAML file, of the same
// name. Tags say the rest:
//
//	default:"5s"         what it is if nobody says; required for what may not be empty
//	help:"…"             what it is for, one or two sentences
//	placeholder:"FILE"   what stands for its value
//	enum:"json,text"     the words that it may be
//	unit:"bytes"         of a number whose name does not end in it
//	name:"ffmpeg"        in place of the field's name in words
//	embed:"" prefix:"db-"  a struct whose fields are settings, too
//	flag:"only"          neither a variable nor a key
//	config:"-"           not a setting
//
// Fields that have the same name are one setting, and all of them get its value.
//
// The package keeps to the little of reflection that lets the linker drop what
// is not called: looking methods up by name costs the gateway five megabytes.
package config
