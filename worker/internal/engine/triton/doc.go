// Package triton is the driver for speech models in a Triton Inference Server, or in
// any server of the Open Inference Protocol over gRPC. It speaks to the model
// cosyvoice3 of CosyVoice's TensorRT-LLM runtime, and to whatever model takes and
// gives the same tensors:
//
//	in   target_text        BYTES [1]   the text
//	     reference_wav      FP32  [-1]  the voice, mono at 16 kHz, padded with silence
//	     reference_wav_len  INT32 [1]   samples of it without the silence
//	     reference_text     BYTES [1]   what is said in it
//	out  waveform           FP32  [-1]  mono
//	     waveform_len       INT32 [1]   samples of it; only models that take batches, see below
//
// # How a text is asked for
//
// What the model is like is asked of the server before the first text, and again after
// a failure, since another model may be there by then. A model that is decoupled is
// called by ModelStreamInfer, which ends with an answer that says so, any other by
// ModelInfer. All of it is raw bytes.
//
// A batch is sent as so many calls at once, which is what the server's dynamic batcher
// makes batches of. One call with many texts is made only where the model says that it
// can be: where max_batch_size allows it and where it has the output waveform_len, for
// without it nobody could tell where in a padded row the speech ends. The model of
// the official runtime has none: it reads the first text of a request and forgets the
// others. References are padded to whole 10 s, so that the requests of most voices have
// one shape, without which no batch is made of them.
//
// # What such a server does not do
//
//   - It stops a text at its limit of tokens, 750, which are 30 s, and says nothing. An
//     answer that long is refused.
//   - It remembers voices by the transcript of their reference only, without end. Two
//     voices of a pool with one transcript are refused when the pool is read.
//   - It has no tensor for instructions: they stand in the transcript, before CosyVoice3's
//     end of the prompt. It therefore remembers a voice anew for each of them.
//   - It knows no time-out. The deadline of a call is here, as in package openaispeech.
//   - It takes no seed, no speed and no pronunciations. A seed is not honoured: a text
//     that is spoken again sounds different. A speed other than 1 is refused.
//   - It answers with garbage too: samples that are no numbers, shapes that do not fit
//     and no samples at all are no answers.
//
// # Failures
//
//	not sent: no connection                        Unavailable
//	UNAVAILABLE: the model is loaded               Overloaded: its queue is full
//	UNAVAILABLE: it is not                         Unavailable
//	RESOURCE_EXHAUSTED                             Overloaded
//	INVALID_ARGUMENT and alike, UNIMPLEMENTED,     Invalid: the text's fault or, if the
//	a model without the tensors                    canary says so, the configuration's
//	NOT_FOUND                                      NotFound: there is no such model
//	UNAUTHENTICATED, PERMISSION_DENIED             Unauthorized, Forbidden
//	no answer in time, a connection that broke,
//	a model that is gone or whose process died     Engine, engine.ErrLost
//	anything else, an answer that is none          Engine
package triton
