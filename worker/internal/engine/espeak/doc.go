// Package espeak is the engine that needs no GPU: espeak-ng, called through its
// library, with the time of every word and sentence.
//
// The library runs in helper processes, the binary voicemill-espeak
// (cmd/voicemill-espeak); package helper has what becomes of them.
//
// The same request always yields the same samples, whatever was spoken before
// and by which helper.
//
// What the engine makes of a request:
//   - Speed becomes words per minute, 175 at normal speed, held within the
//     library's 80 to 450.
//   - Seed is not used; there is nothing random.
//   - Control and private-use characters are read as spaces: the library takes
//     some of them for commands.
//   - Pronunciations in IPA or X-SAMPA are translated to the library's names for
//     sounds, in the languages for which these were tried: English, most languages
//     of western and central Europe, Russian, Ukrainian, Greek, Turkish. One with a
//     symbol that has no name in the voice's language is ignored, as is a space.
//   - A text without letters and digits for which the library makes no sound is
//     0.2 s of silence. For any other text no sound is a failure.
package espeak
