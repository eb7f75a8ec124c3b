package libespeak

import (
	"runtime"
	"strings"
	"unsafe"

	"github.com/ebitengine/purego"
)

// Bits of the phoneme mode of espeak_TextToPhonemes.
const (
	phonemesIPA = 0x02
	phonemesTie = 0x80 // the character in the bits from 8 joins the letters of one sound
)

// maxClauses bounds what is asked for one text, should the library not move on.
const maxClauses = 4096

// Phonemes is the library as something that says how texts sound. It is used by
// one goroutine, locked to its thread; there is at most one library in a process.
type Phonemes struct {
	library *library

	voice          string // that is set
	textToPhonemes func(text *uintptr, textMode, phonemeMode int32) string
}

// OpenPhonemes loads the library that cfg names.
func OpenPhonemes(cfg Config) (*Phonemes, error) {
	cfg = cfg.withDefaults()
	p := &Phonemes{library: newLibrary(cfg.Library, cfg.DataPath)}
	if err := p.library.open(); err != nil {
		return nil, err
	}
	purego.RegisterLibFunc(&p.textToPhonemes, p.library.handle, "espeak_TextToPhonemes")
	return p, nil
}

// Version returns the version of the library.
func (p *Phonemes) Version() string { return p.library.version() }

// Close unloads the library.
func (p *Phonemes) Close() error { return p.library.close() }

// IPA returns how voice says text, in the international phonetic alphabet. The
// letters of one sound are joined by tie, unless that is 0.
func (p *Phonemes) IPA(voice, text string, tie rune) (string, error) {
	if voice != p.voice {
		if err := p.library.setVoice(voice); err != nil {
			return "", err
		}
		p.voice = voice
	}
	mode := int32(phonemesIPA)
	if tie != 0 {
		mode |= phonemesTie | tie<<8
	}
	bytes := append([]byte(text), 0)
	at := uintptr(unsafe.Pointer(&bytes[0]))
	var clauses []string
	for range maxClauses {
		if at == 0 {
			break
		}
		if said := p.textToPhonemes(&at, int32(flagUTF8), mode); said != "" {
			clauses = append(clauses, said)
		}
	}
	runtime.KeepAlive(bytes)
	return strings.Join(clauses, " "), nil
}
