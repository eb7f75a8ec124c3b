// Package ask is what a neural helper is asked, and how it is started. The frames
// around requests are those of package helper/wire; a sentence event's position is
// the number of the sentence, from 1.
package ask

// Request asks for one text.
type Request struct {
	Speaker   int        `json:"speaker"` // the model's number
	Espeak    string     `json:"espeak"`  // the voice of espeak-ng that makes phonemes
	Speed     float64    `json:"speed"`
	Seed      int64      `json:"seed"`
	Sentences []Sentence `json:"sentences"`
}

// Sentence is what a model says in one breath.
type Sentence struct {
	Clauses []Clause `json:"clauses"`
}

// Clause is what stands between two marks of punctuation.
type Clause struct {
	Pieces []Piece `json:"pieces"`
	End    string  `json:"end,omitempty"` // the mark: one of . ? ! , ; : — …; empty if there is none
}

// Piece is text as written, or the sound of a part of it.
type Piece struct {
	Text string `json:"text,omitempty"`
	IPA  string `json:"ipa,omitempty"`
}

// Model is what a helper loads. It is given as JSON in an argument.
type Model struct {
	Library  string            `json:"library"` // folder of sherpa-onnx' libraries
	Family   string            `json:"family"`  // piper, vits, kokoro, kitten, matcha or supertonic
	Files    map[string]string `json:"files"`   // role, as the library's C API calls it, to path
	Rate     int               `json:"rate"`
	Threads  int               `json:"threads"`
	Provider string            `json:"provider"` // cpu or cuda
	Blends   []Blend           `json:"blends,omitempty"`

	Espeak     string `json:"espeak,omitempty"`      // the espeak-ng library; empty: the platform's name
	EspeakData string `json:"espeak_data,omitempty"` // folder of its data; empty: its own choice
	MaxSeconds int    `json:"max_seconds"`
}

// Blend is a voice made of others. It takes the place of one that is not offered.
type Blend struct {
	Place int    `json:"place"` // the number that is replaced
	Parts []Part `json:"parts"`
}

// Part is one voice of a blend.
type Part struct {
	Speaker int     `json:"speaker"`
	Weight  float64 `json:"weight"` // of 1 in all
}
