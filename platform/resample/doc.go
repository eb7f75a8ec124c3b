// Package resample changes the sample rate of mono 16-bit audio.
//
// It is a polyphase filter: the rates are reduced to a fraction up/down, and
// each output sample is the dot product of the input around it with one of up
// phases of a Kaiser-windowed sinc. The filter passes what both rates can hold
// and stops the rest, about 80 dB down; its gain at zero frequency is exactly
// one. It has no delay: the first output sample is at the time of the first
// input sample, and the input counts as silence outside its bounds.
package resample
