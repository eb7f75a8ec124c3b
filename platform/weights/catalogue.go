package weights

import (
	"bytes"
	_ "embed"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"runtime"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/weights/registry"
)

// The kinds of a Model.
const (
	KindVoice   = "voice"
	KindLibrary = "library"
	KindEar     = "ear"
)

// The families of voices, by what the library calls them.
const (
	FamilyPiper  = "piper"
	FamilyKokoro = "kokoro"
)

// Library is the name of the model that runs the others.
const Library = "sherpa-onnx"

// Limits of a catalogue.
const (
	maxCatalogueBytes = 4 << 20
	maxFileBytes      = 8 << 30
	maxParts          = 4096
)

//go:embed catalogue.json
var embedded []byte

// Model is one thing that can be installed.
type Model struct {
	Name        string   `json:"name"`
	Kind        string   `json:"kind"`             // KindVoice, KindLibrary or KindEar
	Family      string   `json:"family,omitempty"` // of a voice
	Version     string   `json:"version"`
	Platform    string   `json:"platform,omitempty"` // such as linux/amd64; empty is any
	Title       string   `json:"title"`
	Needs       []string `json:"needs,omitempty"` // models that are installed with it
	Licence     string   `json:"licence"`
	Attribution string   `json:"attribution"`
	SampleRate  int      `json:"sample_rate,omitempty"`
	Speakers    []string `json:"speakers,omitempty"` // in the order of the model's own numbers
	Voices      []Voice  `json:"voices,omitempty"`
	Files       []File   `json:"files"`
	Form        int      `json:"form,omitempty"` // of an installed model: how it was prepared
}

// Voice is one voice of a model.
type Voice struct {
	Name     string `json:"name"`
	Language string `json:"language"`          // BCP 47
	Espeak   string `json:"espeak"`            // the voice of espeak-ng that makes its phonemes
	Speaker  int    `json:"speaker,omitempty"` // the model's number for it
}

// File is one file of a model: its parts, one after another.
type File struct {
	Path   string   `json:"path"`
	Bytes  int64    `json:"bytes"`
	SHA256 string   `json:"sha256"`
	Parts  []string `json:"parts"` // sources, see package registry
}

// Bytes returns how long the files of m are.
func (m Model) Bytes() int64 {
	var sum int64
	for _, f := range m.Files {
		sum += f.Bytes
	}
	return sum
}

// Catalogue is what can be installed on this machine, in the order in which it is
// offered: the first voice of a language is its default.
type Catalogue []Model

// OpenCatalogue returns the catalogue of this build, with the models of the file at
// path before it unless that is empty. A model there replaces one of the same name.
func OpenCatalogue(path string) (Catalogue, error) {
	ours, err := ReadCatalogue(bytes.NewReader(embedded))
	if err != nil {
		return nil, fmt.Errorf("bug: the catalogue of this build: %w", err)
	}
	if path == "" {
		return ours, nil
	}
	f, err := os.Open(path) //nolint:gosec // the operator's own
	if err != nil {
		return nil, fmt.Errorf("open the catalogue: %w", err)
	}
	all, err := ReadCatalogue(f)
	if err := errors.Join(err, f.Close()); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	for _, m := range ours {
		if _, known := all.Find(m.Name); !known {
			all = append(all, m)
		}
	}
	return all, nil
}

// ReadCatalogue reads {"models": [...]}, leaves out what is for other platforms and
// reports what makes no sense.
func ReadCatalogue(r io.Reader) (Catalogue, error) {
	var file struct {
		Models []Model `json:"models"`
	}
	d := json.NewDecoder(io.LimitReader(r, maxCatalogueBytes))
	d.DisallowUnknownFields()
	if err := d.Decode(&file); err != nil {
		return nil, fmt.Errorf("read the catalogue: %w", err)
	}
	var all Catalogue
	for _, m := range file.Models {
		if err := m.validate(); err != nil {
			return nil, fmt.Errorf("read the catalogue: model %q: %w", m.Name, err)
		}
		if m.Platform != "" && m.Platform != runtime.GOOS+"/"+runtime.GOARCH {
			continue
		}
		if _, known := all.Find(m.Name); known {
			return nil, fmt.Errorf("read the catalogue: model %q is there twice", m.Name)
		}
		all = append(all, m)
	}
	return all, nil
}

// Find returns the model called name.
func (c Catalogue) Find(name string) (Model, bool) {
	for _, m := range c {
		if m.Name == name {
			return m, true
		}
	}
	return Model{}, false
}

// Closure returns the model called name after everything that it needs.
func (c Catalogue) Closure(name string) ([]Model, error) {
	m, ok := c.Find(name)
	if !ok {
		return nil, &job.Error{
			Op: "weights.Closure", Kind: job.NotFound,
			Public: fmt.Sprintf("There is no model %q for this machine; `voicemill models list` shows what there is.", name),
		}
	}
	var all []Model
	for _, need := range m.Needs {
		n, ok := c.Find(need)
		if !ok {
			return nil, &job.Error{
				Op: "weights.Closure", Kind: job.NotFound,
				Public: fmt.Sprintf("The model %q needs %q, which there is not for %s/%s.", name, need, runtime.GOOS, runtime.GOARCH),
			}
		}
		all = append(all, n)
	}
	return append(all, m), nil
}

var (
	modelName = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,31}$`)
	voiceName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$`)
)

func (m Model) validate() error {
	switch {
	case !modelName.MatchString(m.Name):
		return errors.New("want a name of 1 to 32 of a-z, 0-9, - and _")
	case m.Kind != KindVoice && m.Kind != KindLibrary && m.Kind != KindEar:
		return fmt.Errorf("kind is %q; want %q, %q or %q", m.Kind, KindVoice, KindLibrary, KindEar)
	case m.Licence == "" || m.Attribution == "":
		return errors.New("licence and attribution are needed: whoever hears a voice may ask")
	case len(m.Files) == 0:
		return errors.New("it has no files")
	}
	if m.Kind == KindVoice {
		if err := m.validateVoices(); err != nil {
			return err
		}
	}
	seen := map[string]bool{fileModel: true}
	for _, f := range m.Files {
		if err := f.validate(); err != nil {
			return err
		}
		if seen[f.Path] {
			return fmt.Errorf("file %q is there twice, or is the store's own", f.Path)
		}
		seen[f.Path] = true
	}
	return nil
}

func (m Model) validateVoices() error {
	switch {
	case m.Family == "":
		return errors.New("a voice has a family")
	case m.SampleRate < 8000 || m.SampleRate > 192000:
		return fmt.Errorf("sample_rate is %d; want 8000 to 192000", m.SampleRate)
	case len(m.Voices) == 0:
		return errors.New("it has no voices")
	}
	for _, v := range m.Voices {
		if !voiceName.MatchString(v.Name) || v.Language == "" || v.Espeak == "" || v.Speaker < 0 {
			return fmt.Errorf("voice %q needs a name of letters, digits, - and _, a language, a voice of espeak-ng and no negative speaker", v.Name)
		}
	}
	return nil
}

func (f File) validate() error {
	digest, err := hex.DecodeString(f.SHA256)
	switch {
	case f.Path == "" || !filepath.IsLocal(f.Path) || f.Path != filepath.Base(f.Path):
		return fmt.Errorf("file %q: want a name without a folder", f.Path)
	case f.Bytes < 1 || f.Bytes > maxFileBytes:
		return fmt.Errorf("file %q: bytes is %d; want 1 to %d", f.Path, f.Bytes, int64(maxFileBytes))
	case err != nil || len(digest) != 32:
		return fmt.Errorf("file %q: sha256 is not 64 hexadecimal digits", f.Path)
	case len(f.Parts) == 0 || len(f.Parts) > maxParts:
		return fmt.Errorf("file %q: %d parts; want 1 to %d", f.Path, len(f.Parts), maxParts)
	}
	for _, p := range f.Parts {
		if _, err := registry.Parse(p); err != nil {
			return fmt.Errorf("file %q: %w", f.Path, err)
		}
	}
	return nil
}
