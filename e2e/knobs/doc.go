// Package knobs turns every knob of the simulated engine, over both protocols and
// beside each other in one `voicemill up`, and says what the user of the API sees of
// it. docs/engines.md has the same table.
package knobs
