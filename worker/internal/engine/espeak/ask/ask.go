// Package ask is what an espeak helper is asked. The frames around it are those of
// package helper/wire.
package ask

// Request asks for one text.
type Request struct {
	Voice    string `json:"voice"`
	WPM      int    `json:"wpm"`
	Phonemes bool   `json:"phonemes"` // [[…]] in Text is phonemes, not letters
	Text     string `json:"text"`
}
