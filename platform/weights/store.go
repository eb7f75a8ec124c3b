package weights

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/voicemill/voicemill/job"
)

const (
	fileModel     = "model.json"
	downloads     = ".downloads"
	maxModelBytes = 4 << 20
)

// Store is the folder in which models are installed. Several processes may use one.
type Store struct{ dir string }

// Installed is a model in a store.
type Installed struct {
	Model

	Dir string `json:"-"`
}

// DefaultDir returns where models are installed if nobody says otherwise: a folder of
// the user's, or of the machine's for a user who has no home.
func DefaultDir() string {
	home, err := os.UserHomeDir()
	if err != nil {
		return "/var/lib/voicemill/models"
	}
	return filepath.Join(home, ".local", "share", "voicemill", "models")
}

// Open returns the store in dir, which need not exist.
func Open(dir string) Store { return Store{dir} }

// Dir returns the folder.
func (s Store) Dir() string { return s.dir }

// Path returns the path of a file of m.
func (m Installed) Path(name string) string { return filepath.Join(m.Dir, name) }

// Mend returns the command that installs m again.
func (m Installed) Mend() string { return "voicemill models install " + m.Name }

// List returns what is installed, by name. A folder that is no model is left out.
func (s Store) List() ([]Installed, error) {
	entries, err := os.ReadDir(s.dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list the models: %w", err)
	}
	var all []Installed
	for _, e := range entries {
		if !modelName.MatchString(e.Name()) {
			continue
		}
		m, err := s.Get(e.Name())
		if job.KindOf(err) == job.NotFound {
			continue
		}
		if err != nil {
			return nil, err
		}
		all = append(all, m)
	}
	return all, nil
}

// Get returns the model called name. Its files have not been looked at. An error of
// kind NotFound says that it is not installed, and with which command it is.
func (s Store) Get(name string) (Installed, error) {
	m := Installed{Model: Model{Name: name}, Dir: filepath.Join(s.dir, name)}
	f, err := os.Open(m.Path(fileModel)) //nolint:gosec // a checked name in the store
	if errors.Is(err, os.ErrNotExist) || !modelName.MatchString(name) {
		return m, &job.Error{
			Op: "weights.Get", Kind: job.NotFound,
			Public: fmt.Sprintf("The model %q is not installed in %s; install it with: %s", name, s.dir, m.Mend()),
		}
	}
	if err != nil {
		return m, fmt.Errorf("read the model %q: %w", name, err)
	}
	defer func() { _ = f.Close() }()
	if err := json.NewDecoder(io.LimitReader(f, maxModelBytes)).Decode(&m.Model); err != nil {
		return m, m.damaged(fileModel, err)
	}
	if m.Name != name || m.validate() != nil {
		return m, m.damaged(fileModel, m.validate())
	}
	return m, nil
}

// damaged says which file cannot be used, and what mends it.
func (m Installed) damaged(file string, err error) error {
	return &job.Error{
		Op: "weights.Verify", Kind: job.Unavailable,
		Public: fmt.Sprintf("The file %s is damaged; mend it with: %s", m.Path(file), m.Mend()), Err: err,
	}
}

// Verify reads every file of m and reports the first that is missing, cut or not
// what was installed, with the command that mends it.
func (m Installed) Verify() error {
	for _, f := range m.Files {
		digest, size, err := digestOf(m.Path(f.Path))
		switch {
		case errors.Is(err, os.ErrNotExist):
			return &job.Error{
				Op: "weights.Verify", Kind: job.Unavailable,
				Public: fmt.Sprintf("The file %s is missing; mend it with: %s", m.Path(f.Path), m.Mend()),
			}
		case err != nil:
			return fmt.Errorf("verify %s: %w", m.Name, err)
		case size != f.Bytes:
			return m.damaged(f.Path, fmt.Errorf("it has %d bytes; want %d", size, f.Bytes))
		case digest != f.SHA256:
			return m.damaged(f.Path, fmt.Errorf("its SHA-256 is %s; want %s", digest, f.SHA256))
		}
	}
	return nil
}

func digestOf(path string) (digest string, size int64, err error) {
	f, err := os.Open(path) //nolint:gosec // the store's own
	if err != nil {
		return "", 0, err
	}
	defer func() { _ = f.Close() }()
	h := sha256.New()
	size, err = io.Copy(h, f)
	return hex.EncodeToString(h.Sum(nil)), size, err
}

// Remove takes a model out of the store. It is no error if it is not there.
func (s Store) Remove(name string) error {
	if !modelName.MatchString(name) {
		return &job.Error{Op: "weights.Remove", Kind: job.Invalid, Public: fmt.Sprintf("%q is no name of a model.", name)}
	}
	unlock, err := s.lock()
	if err != nil {
		return err
	}
	defer unlock()
	return s.remove(name)
}

// remove renames the folder first, so that half a model is never seen.
func (s Store) remove(name string) error {
	gone := filepath.Join(s.dir, ".removed-"+name)
	if err := os.RemoveAll(gone); err != nil {
		return fmt.Errorf("remove %s: %w", name, err)
	}
	if err := os.Rename(filepath.Join(s.dir, name), gone); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove %s: %w", name, err)
	}
	if err := os.RemoveAll(gone); err != nil {
		return fmt.Errorf("remove %s: %w", name, err)
	}
	return nil
}

// Voices returns the installed models that speak, in the order of c and then by
// name, if the library that runs them is installed, too.
func (s Store) Voices(c Catalogue) ([]Installed, error) {
	all, err := s.List()
	if err != nil {
		return nil, err
	}
	all = slices.DeleteFunc(all, func(m Installed) bool { return m.Kind != KindVoice })
	place := func(m Installed) int {
		at := slices.IndexFunc(c, func(known Model) bool { return known.Name == m.Name })
		if at < 0 {
			return len(c)
		}
		return at
	}
	slices.SortStableFunc(all, func(a, b Installed) int { return place(a) - place(b) })
	return all, nil
}
