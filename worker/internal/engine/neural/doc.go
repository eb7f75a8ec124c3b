// Package neural is the engine of neural voices on this machine: models that
// somebody installed (platform/weights), run by sherpa-onnx in helper processes
// (cmd/voicemill-neural); package helper has what becomes of those.
//
// One engine has one model. A helper does one text at a time with Config.Threads
// threads; helpers beside each other make more of a CPU than batches do.
//
// What the engine makes of a request:
//   - The text is cut into sentences, each of which the model says by itself, with
//     0.25 s between them. espeak-ng says how the words sound, in the language of the
//     voice; a pronunciation in IPA or X-SAMPA takes the place of that.
//   - Speed is the model's own, not a stretch of its audio.
//   - Piper's voices have 256 ways of saying a text, and the seed chooses one; of
//     other models the seed changes nothing. The same request always yields the same
//     samples where [engine.Info.Repeats] says so.
//   - Sentences begin where they are marked, to the sample. Words are placed within
//     their sentence in proportion to their letters, which [engine.Result.Placed] says.
//   - A text without letters and digits of which nothing can be said is 0.2 s of
//     silence. For any other text no sound is a failure.
package neural
