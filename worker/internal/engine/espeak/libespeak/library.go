package libespeak

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"unsafe"

	"github.com/ebitengine/purego"

	"github.com/voicemill/voicemill/worker/internal/engine/espeak/ask"
	"github.com/voicemill/voicemill/worker/internal/engine/helper/wire"
)

// These values are fixed by the library's C interface, espeak-ng/speak_lib.h.
const (
	outputSynchronous = 2 // audio comes through the callback, before Synth returns
	initDontExit      = 0x8000
	bufferMillis      = 200

	paramRate         = 1
	positionCharacter = 1

	flagUTF8, flagPhonemes uint32 = 1, 0x100

	eventEnd, eventWord, eventSentence = 0, 1, 2
)

// event mirrors espeak_EVENT.
type event struct {
	kind         int32
	_            uint32
	textPosition int32 // characters, from 1
	length       int32
	_            int32 // milliseconds
	sample       int32
	_            uintptr
	_            [8]byte
}

// sink receives what the library produces for one text. A false return stops
// the synthesis.
type sink interface {
	Samples(pcm []int16) bool
	Event(e wire.Event) bool
}

// library is one loaded instance of espeak-ng. There is at most one in a
// process, used by one goroutine.
type library struct {
	name     string // file name or path for the dynamic linker
	dataPath string // empty for the compiled-in one
	callback uintptr
	out      sink // set while a text is being spoken

	handle uintptr
	rate   int

	initialize      func(output, bufferMillis int32, path *byte, options int32) int32
	info            func(path *uintptr) string
	setCallback     func(fn uintptr)
	setVoiceByName  func(name string) int32
	setParameter    func(parameter, value, relative int32) int32
	synth           func(text *byte, size uintptr, position uint32, positionType int32, end, flags uint32, id *uint32, user uintptr) int32
	terminate       func() int32
	seedLibcRandoms func(seed uint32)
}

var errVoice = errors.New("the library does not have the voice")

func newLibrary(name, dataPath string) *library {
	l := &library{name: name, dataPath: dataPath}
	l.callback = purego.NewCallback(l.onSynth) // never released, so it is made once
	return l
}

// files are the voices that the library finds by their file's name alone, by the
// languages under which it lists them, and models of Piper's and Kokoro's name them.
var files = map[string]string{"en-gb": "en", "fr-fr": "fr"}

// setVoice has what follows spoken by the voice called name, or by its variant after a plus.
func (l *library) setVoice(name string) error {
	language, variant, varied := strings.Cut(name, "+")
	if file, ok := files[strings.ToLower(language)]; ok {
		language = file
	}
	if varied {
		language += "+" + variant
	}
	if l.setVoiceByName(language) != 0 {
		return fmt.Errorf("%q: %w", name, errVoice)
	}
	return nil
}

// open loads and initialises the library.
func (l *library) open() error {
	handle, err := purego.Dlopen(l.name, purego.RTLD_NOW|purego.RTLD_LOCAL)
	if err != nil {
		return fmt.Errorf("load %s: %w; install it with: apt-get install espeak-ng", l.name, err)
	}
	l.handle = handle
	purego.RegisterLibFunc(&l.initialize, handle, "espeak_Initialize")
	purego.RegisterLibFunc(&l.info, handle, "espeak_Info")
	purego.RegisterLibFunc(&l.setCallback, handle, "espeak_SetSynthCallback")
	purego.RegisterLibFunc(&l.setVoiceByName, handle, "espeak_SetVoiceByName")
	purego.RegisterLibFunc(&l.setParameter, handle, "espeak_SetParameter")
	purego.RegisterLibFunc(&l.synth, handle, "espeak_Synth")
	purego.RegisterLibFunc(&l.terminate, handle, "espeak_Terminate")
	purego.RegisterLibFunc(&l.seedLibcRandoms, handle, "srand") // found in libc, which the library needs

	var path *byte
	if l.dataPath != "" {
		path = unsafe.StringData(l.dataPath + "\x00")
	}
	rate := l.initialize(outputSynchronous, bufferMillis, path, initDontExit)
	runtime.KeepAlive(path)
	if rate <= 0 {
		return fmt.Errorf("initialise %s: no voice data found; install it with: apt-get install espeak-ng-data", l.name)
	}
	l.rate = int(rate)
	l.seedLibcRandoms(1) // some voices make noise with rand()
	l.setCallback(l.callback)
	return nil
}

// close unloads the library. Loaded twice without that, it hangs.
func (l *library) close() error {
	if l.handle == 0 {
		return nil
	}
	if l.rate > 0 {
		l.terminate()
	}
	handle := l.handle
	l.handle, l.rate = 0, 0
	if err := purego.Dlclose(handle); err != nil {
		return fmt.Errorf("unload %s: %w", l.name, err)
	}
	return nil
}

// reopen returns the library to the state of a fresh process.
func (l *library) reopen() error {
	if err := l.close(); err != nil {
		return err
	}
	return l.open()
}

// version returns the version of the library.
func (l *library) version() string {
	var path uintptr
	return l.info(&path)
}

// speak synthesises r into out.
func (l *library) speak(r ask.Request, out sink) error {
	if err := l.setVoice(r.Voice); err != nil {
		return err
	}
	// Everything else has its default, since the library is fresh.
	if status := l.setParameter(paramRate, int32(r.WPM), 0); status != 0 { //nolint:gosec // at most maxWPM
		return fmt.Errorf("set %d words a minute: status %d", r.WPM, status)
	}
	flags := flagUTF8
	if r.Phonemes {
		flags |= flagPhonemes
	}
	text := append([]byte(r.Text), 0)
	l.out = out
	status := l.synth(&text[0], uintptr(len(text)), 0, positionCharacter, 0, flags, nil, 0)
	l.out = nil
	if status != 0 {
		return fmt.Errorf("synthesise: status %d", status)
	}
	return nil
}

// onSynth is called by the library, on the goroutine that is in speak, with a
// buffer of audio and the events that fall in it. Returning 1 stops it.
func (l *library) onSynth(pcm *int16, n int32, events *event) int32 {
	if l.out == nil {
		return 1
	}
	if pcm != nil && n > 0 && !l.out.Samples(unsafe.Slice(pcm, n)) {
		return 1
	}
	if events == nil {
		return 0
	}
	for e := events; e.kind != eventEnd; e = (*event)(unsafe.Add(unsafe.Pointer(e), unsafe.Sizeof(*e))) { //nolint:gosec // the list ends with eventEnd
		if e.kind != eventWord && e.kind != eventSentence {
			continue
		}
		if !l.out.Event(wire.Event{
			Kind:     wire.EventKind(e.kind),         //nolint:gosec // 1 or 2
			Position: uint32(max(e.textPosition, 0)), //nolint:gosec // not negative
			Length:   uint32(max(e.length, 0)),       //nolint:gosec // not negative
			Sample:   int64(e.sample),
		}) {
			return 1
		}
	}
	return 0
}
