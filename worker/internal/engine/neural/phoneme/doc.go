// Package phoneme writes sounds as the models that hear them want: what espeak-ng
// says of a text, and the pronunciations that a lexicon or a text gives.
package phoneme
