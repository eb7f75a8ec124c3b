package libsherpa

import (
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"unsafe"

	"github.com/ebitengine/purego"

	"github.com/voicemill/voicemill/worker/internal/engine/neural/ask"
)

// The structs below are those of sherpa-onnx/c-api/c-api.h, version 2.0.1. What has no
// name is not used: files that the C side ignores, and models that clone a voice.
type vitsConfig struct {
	model, lexicon, tokens               *byte
	_                                    *byte // data_dir
	noiseScale, noiseScaleW, lengthScale float32
	_                                    *byte // dict_dir
}

type matchaConfig struct {
	acousticModel, vocoder, lexicon, tokens *byte
	_                                       *byte // data_dir
	noiseScale, lengthScale                 float32
	_                                       *byte // dict_dir
}

type kokoroConfig struct {
	model, voices, tokens *byte
	_                     *byte // data_dir
	lengthScale           float32
	_                     [3]*byte // dict_dir, lexicon, lang
}

type kittenConfig struct {
	model, voices, tokens *byte
	_                     *byte // data_dir
	lengthScale           float32
	_                     *byte // lexicon
}

type supertonicConfig struct {
	durationPredictor, textEncoder, vectorEstimator, vocoder, ttsJSON, unicodeIndexer, voiceStyle *byte
}

type ttsConfig struct {
	vits       vitsConfig
	numThreads int32
	_          int32 // debug
	provider   *byte
	matcha     matchaConfig
	kokoro     kokoroConfig
	kitten     kittenConfig
	_          struct { // zipvoice
		_ [6]*byte
		_ [4]float32
	}
	_ struct { // pocket
		_ [7]*byte
		_ int32
	}
	supertonic supertonicConfig

	_               *byte // rule_fsts
	maxNumSentences int32
	_               *byte // rule_fars
	silenceScale    float32
}

type generationConfig struct {
	silenceScale, speed float32
	sid                 int32

	_ *float32 // reference_audio
	_ [2]int32 // its length and rate
	_ *byte    // reference_text
	_ int32    // num_steps
	_ *byte    // extra

	phonemeCodepoints, phonemeCodepointsLens *int32
	phonemeCodepointsNumSentences            int32

	_ [2]*byte // tokens, tokens_lens
	_ int32    // tokens_num_sentences
}

type generatedAudio struct {
	samples *float32
	n       int32
	_       int32 // sample_rate
}

// library is a loaded model. It is used by one goroutine.
type library struct {
	tts  uintptr
	rate int

	version      func() string
	create       func(*ttsConfig) uintptr
	destroy      func(uintptr)
	sampleRate   func(uintptr) int32
	numSpeakers  func(uintptr) int32
	generate     func(tts uintptr, text *byte, cfg *generationConfig, callback, arg uintptr) *generatedAudio
	destroyAudio func(*generatedAudio)
}

const soundLibrary = "libsherpa-onnx-c-api.so"

// open loads the library and the model.
func open(m ask.Model) (*library, error) {
	l := &library{}
	path := filepath.Join(m.Library, soundLibrary)
	handle, err := purego.Dlopen(path, purego.RTLD_NOW|purego.RTLD_LOCAL)
	if err != nil {
		return nil, fmt.Errorf("load %s: %w; mend it with: voicemill models install sherpa-onnx", path, err)
	}
	purego.RegisterLibFunc(&l.version, handle, "SherpaOnnxGetVersionStr")
	purego.RegisterLibFunc(&l.create, handle, "SherpaOnnxCreateOfflineTts")
	purego.RegisterLibFunc(&l.destroy, handle, "SherpaOnnxDestroyOfflineTts")
	purego.RegisterLibFunc(&l.sampleRate, handle, "SherpaOnnxOfflineTtsSampleRate")
	purego.RegisterLibFunc(&l.numSpeakers, handle, "SherpaOnnxOfflineTtsNumSpeakers")
	purego.RegisterLibFunc(&l.generate, handle, "SherpaOnnxOfflineTtsGenerateWithConfig")
	purego.RegisterLibFunc(&l.destroyAudio, handle, "SherpaOnnxDestroyOfflineTtsGeneratedAudio")

	cfg, err := configOf(m)
	if err != nil {
		return nil, err
	}
	l.tts = l.create(cfg)
	runtime.KeepAlive(cfg)
	if l.tts == 0 {
		return nil, errors.New("sherpa-onnx cannot load the model")
	}
	l.rate = int(l.sampleRate(l.tts))
	return l, nil
}

// configOf fills the library's struct: each file of m goes where its role says.
func configOf(m ask.Model) (*ttsConfig, error) {
	c := &ttsConfig{
		numThreads: int32(max(m.Threads, 1)), provider: cString(m.Provider), maxNumSentences: 1, silenceScale: 1, //nolint:gosec // a handful
	}
	c.vits.noiseScale, c.vits.noiseScaleW, c.vits.lengthScale = 0.667, 0.8, 1 // what Piper's voices are tuned for
	c.matcha.noiseScale, c.matcha.lengthScale = 0.667, 1
	c.kokoro.lengthScale, c.kitten.lengthScale = 1, 1
	roles, ok := map[string]map[string]**byte{
		"piper":  {"model": &c.vits.model, "tokens": &c.vits.tokens},
		"vits":   {"model": &c.vits.model, "tokens": &c.vits.tokens, "lexicon": &c.vits.lexicon},
		"matcha": {"acoustic_model": &c.matcha.acousticModel, "vocoder": &c.matcha.vocoder, "tokens": &c.matcha.tokens, "lexicon": &c.matcha.lexicon},
		"kokoro": {"model": &c.kokoro.model, "voices": &c.kokoro.voices, "tokens": &c.kokoro.tokens},
		"kitten": {"model": &c.kitten.model, "voices": &c.kitten.voices, "tokens": &c.kitten.tokens},
		"supertonic": {
			"duration_predictor": &c.supertonic.durationPredictor, "text_encoder": &c.supertonic.textEncoder, "vector_estimator": &c.supertonic.vectorEstimator,
			"vocoder": &c.supertonic.vocoder, "tts_json": &c.supertonic.ttsJSON, "unicode_indexer": &c.supertonic.unicodeIndexer, "voice_style": &c.supertonic.voiceStyle,
		},
	}[m.Family]
	if !ok {
		return nil, fmt.Errorf("there is no family of models called %q", m.Family)
	}
	for role, path := range m.Files {
		place, ok := roles[role]
		if !ok {
			return nil, fmt.Errorf("a model of family %s has no file %q", m.Family, role)
		}
		*place = cString(path)
	}
	return c, nil
}

func cString(s string) *byte {
	if s == "" {
		return nil
	}
	b := append([]byte(s), 0)
	return &b[0]
}

// utterance is what the library says at once: symbols, or the text for families that
// read it themselves.
type utterance struct {
	symbols []int32
	text    string
}

var errSpoken = errors.New("sherpa-onnx made no sound of it")

// speak appends the samples of s to dst.
func (l *library) speak(dst []int16, s utterance, speaker int, speed float64) ([]int16, error) {
	cfg := &generationConfig{silenceScale: 1, speed: float32(speed), sid: int32(speaker)} //nolint:gosec // checked by the driver
	length := []int32{int32(len(s.symbols))}                                              //nolint:gosec // bounded by the longest text
	if len(s.symbols) > 0 {
		cfg.phonemeCodepoints, cfg.phonemeCodepointsLens, cfg.phonemeCodepointsNumSentences = &s.symbols[0], &length[0], 1
	}
	text := append([]byte(s.text), 0)
	audio := l.generate(l.tts, &text[0], cfg, 0, 0)
	runtime.KeepAlive(cfg)
	runtime.KeepAlive(length)
	runtime.KeepAlive(s.symbols)
	if audio == nil {
		return dst, errSpoken
	}
	defer l.destroyAudio(audio)
	if audio.n <= 0 || audio.samples == nil {
		return dst, errSpoken
	}
	for _, v := range unsafe.Slice(audio.samples, audio.n) {
		dst = append(dst, pcm(v))
	}
	return dst, nil
}

// pcm rounds a sample; what is too loud is clipped, and what is no number is silent.
func pcm(v float32) int16 {
	const loudest = 32767
	switch {
	case v >= 1:
		return loudest
	case v <= -1:
		return -loudest
	case v >= 0:
		return int16(v*loudest + 0.5)
	case v < 0:
		return int16(v*loudest - 0.5)
	}
	return 0
}
