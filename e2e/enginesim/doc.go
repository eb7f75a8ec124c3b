// Package enginesim is a speech engine that is simulated: it speaks the real protocols
// over real sockets, takes as long as a real one by a cost model, answers with sound
// that can be heard, and fails as it is told to. Command enginesim runs it.
//
// # Protocols
//
//   - POST /v1/audio/speech, as OpenAI, vLLM-Omni or SGLang-Omni serve it ([Config].Dialect).
//   - KServe v2 over gRPC, as Triton serves CosyVoice3, with three models: cosyvoice3
//     (one text a call, which meets others in a batch), cosyvoice3_stream (decoupled) and
//     cosyvoice3_rows (several texts a call, with their lengths).
//
// # Sound
//
// Each word is a tone of its own, so that a missing or moved word can be heard and
// found. The voice sets the key. A text lasts so many characters a second, times a
// random factor. What is longer than MaxTokens is cut there, and nobody is told but by
// the headers that the real servers have.
//
// # Faults
//
// A text asks for one by a mark, such as sim:hang, anywhere in it; a rate has it happen
// by chance. Rates can be changed while it runs: PUT /sim/faults. GET /sim/stats says
// what was done. The simulation knows nothing of who calls it.
package enginesim
