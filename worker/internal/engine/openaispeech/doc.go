// Package openaispeech is the engine that speaks POST /v1/audio/speech, the
// shape in which vLLM-Omni and SGLang-Omni serve CosyVoice3 and other models,
// and in which many smaller servers follow.
//
// An [Engine] stands for one pool: several backends, that is addresses, which
// serve the same model. Each request goes to the backend with the fewest in
// flight, and no backend gets more than Config.Window at once. A batch is sent
// as so many single requests, because these servers form batches themselves and
// their batch call answers only with its slowest item.
//
// # What is sent
//
// A JSON object with input, model and response_format "wav". What else depends
// on Config.Dialect:
//
//	                        generic  vllm-omni  sglang-omni
//	voice, speed               x         x          x
//	instructions               x         x          x
//	language, seed                       x          x
//	ref_audio, ref_text                  x          x
//	max_new_tokens, stream               x          x
//
// Instructions come with a request where Config.Instructions says that the model takes
// them, and then take the place of the voice's. Beside reference audio, CosyVoice3 in
// vLLM-Omni reads them before the transcript only (ref_text), and in SGLang-Omni in place of the
// transcript.
//
// Reference audio is read once and sent inline as a data URL, which both servers
// cache by content. max_new_tokens bounds a model that does not find its end.
// Pronunciations cannot be expressed and are ignored.
//
// # What counts as an answer
//
// A 200 of type WAV that parses, is not cut, has the backend's rate, lasts at
// least a tenth of the prediction and is not silent. Where the server tells how
// many tokens it made (x-vllm-omni-output-tokens, X-Completion-Tokens) the audio
// must be as long as they are; where it says that it stopped at its limit
// (X-Finish-Reason: length) the answer is refused. A text without letters and
// digits is 0.2 s of silence and is not sent, since such texts are known to hang
// or crash models.
//
// # Failures
//
//	400, 413, 415, 422            Invalid
//	429, 503                      Overloaded, with Retry-After as engine.BusyError
//	401, 403, 404, 405, 408, 502,
//	504, no connection            Unavailable
//	anything else, no answer in
//	time, an answer that is none  Engine
//
// The time for an answer is Config.TimeoutFactor times the prediction and a third
// of Config.MinTimeout, but at least Config.MinTimeout; connecting has its own. A request whose caller leaves is
// aborted, which some servers take badly, so callers should not hedge lightly.
//
// A backend that is full, cannot be reached, or fails [maxFaults] times in a row
// rests, for as long as it asked or a time that doubles up to 30 s. After that it
// gets one request at a time until one succeeds. Requests wait for a backend that
// is awake; when none wakes within Config.MinTimeout they fail as the last one did.
package openaispeech
