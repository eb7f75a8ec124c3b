// Package onebox runs one `voicemill up` with an empty data folder for the
// commands that measure it. Tests use package stage.
package onebox
