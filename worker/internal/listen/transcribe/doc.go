// Package transcribe asks a server what is said in audio, over OpenAI's POST
// /v1/audio/transcriptions: vLLM, Speaches, LocalAI, whisper.cpp's server, or the
// small one in deployments/engines/ear.
//
// The audio goes as WAV in a multipart form; words are asked for with their times
// (verbose_json). A server that answers plain JSON is understood, too: its words have
// no times. Answers are bounded, and failures have the kinds of the drivers of
// engines: Unavailable if there was no connection, Overloaded if the server asks to be
// left alone, Invalid if it refuses the audio, and else Engine.
package transcribe
