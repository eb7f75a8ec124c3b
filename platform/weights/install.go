package weights

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/weights/archive"
	"github.com/voicemill/voicemill/platform/weights/fetch"
	"github.com/voicemill/voicemill/platform/weights/prepare"
	"github.com/voicemill/voicemill/platform/weights/registry"
)

// maxArchiveBytes bounds what is downloaded for one source.
const maxArchiveBytes = 8 << 30

// Installer installs models into a store.
type Installer struct {
	Store      Store
	Catalogue  Catalogue
	Registries registry.Settings
	Client     *http.Client
	Log        *slog.Logger
	// Progress is told of the download of each archive, which it calls by the name of
	// its package; total is 0 if nobody knows. It may be nil.
	Progress func(what string, have, total int64)
}

// Install installs the model called name and what it needs, and returns what was
// not there before. A model that is there and whole is left alone; one that is
// damaged or of another version is replaced.
func (i Installer) Install(ctx context.Context, name string) ([]Installed, error) {
	wanted, err := i.Catalogue.Closure(name)
	if err != nil {
		return nil, err
	}
	unlock, err := i.Store.lock()
	if err != nil {
		return nil, err
	}
	defer unlock()
	var made []Installed
	for _, m := range wanted {
		if there, err := i.Store.Get(m.Name); err == nil && there.Version == m.Version && there.Form == prepare.Form && there.Verify() == nil {
			continue
		}
		if err := i.install(ctx, m); err != nil {
			return made, fmt.Errorf("install %s: %w", m.Name, err)
		}
		there, err := i.Store.Get(m.Name)
		if err != nil {
			return made, err
		}
		made = append(made, there)
	}
	return made, nil
}

// install makes m in a folder of its own and renames that.
func (i Installer) install(ctx context.Context, m Model) (err error) {
	staging := filepath.Join(i.Store.dir, ".staging-"+m.Name)
	if err := errors.Join(os.RemoveAll(staging), os.Mkdir(staging, 0o755)); err != nil { //nolint:gosec // other users may read models
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(staging)) }()
	fetched := map[string]string{} // package or address: where it was downloaded
	for _, f := range m.Files {
		if err := i.file(ctx, m, f, staging, fetched); err != nil {
			return err
		}
	}
	switch m.Family {
	case FamilyPiper:
		err = prepare.Piper(staging)
	case FamilyKokoro:
		err = prepare.Kokoro(staging, m.Speakers)
	}
	if err != nil {
		return &job.Error{Op: "weights.prepare", Kind: job.Invalid, Public: "The model's files are not what its family has.", Err: err}
	}
	if err := record(m, staging); err != nil {
		return err
	}
	if err := i.Store.remove(m.Name); err != nil {
		return err
	}
	if err := os.Rename(staging, filepath.Join(i.Store.dir, m.Name)); err != nil {
		return err
	}
	for _, path := range fetched {
		if err := fetch.Remove(path); err != nil {
			i.Log.WarnContext(ctx, "a download could not be removed", slog.Any("error", err))
		}
	}
	return nil
}

// file makes one file from its parts. If the whole is not what the catalogue says,
// what was downloaded is fetched anew once.
func (i Installer) file(ctx context.Context, m Model, f File, staging string, fetched map[string]string) error {
	err := i.assemble(ctx, f, staging, fetched)
	if job.KindOf(err) != job.Conflict {
		return err
	}
	i.Log.WarnContext(ctx, "a download is not what the catalogue says and is fetched again", slog.String("model", m.Name), slog.Any("error", err))
	for key, path := range fetched {
		if err := fetch.Remove(path); err != nil {
			return err
		}
		delete(fetched, key)
	}
	return i.assemble(ctx, f, staging, fetched)
}

func (i Installer) assemble(ctx context.Context, f File, staging string, fetched map[string]string) (err error) {
	out, err := os.OpenFile(filepath.Join(staging, f.Path), os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o644) //nolint:gosec // a checked name; others may read it
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	digest := sha256.New()
	whole := &bounded{w: io.MultiWriter(out, digest), left: f.Bytes}
	// Members of one archive that follow one another are taken in one pass.
	for at := 0; at < len(f.Parts); {
		s, err := registry.Parse(f.Parts[at])
		if err != nil {
			return err
		}
		members := []string{s.Member}
		for at++; at < len(f.Parts); at++ {
			next, err := registry.Parse(f.Parts[at])
			if err != nil || next.Kind != s.Kind || next.Name != s.Name || next.Version != s.Version || next.Member == "" {
				break
			}
			members = append(members, next.Member)
		}
		path, err := i.fetch(ctx, s, fetched)
		if err != nil {
			return err
		}
		if err := unpack(path, s, members, staging, whole); err != nil {
			return fmt.Errorf("%s: %w", f.Path, err)
		}
	}
	if got := hex.EncodeToString(digest.Sum(nil)); whole.left != 0 || got != f.SHA256 {
		return &job.Error{
			Op: "weights.Install", Kind: job.Conflict,
			Public: fmt.Sprintf("The file %s that came is not the one that the catalogue describes.", f.Path),
			Err:    fmt.Errorf("%d bytes with SHA-256 %s; want %d with %s", f.Bytes-whole.left, got, f.Bytes, f.SHA256),
		}
	}
	return out.Sync()
}

// fetch returns where the archive or file of s is on this machine.
func (i Installer) fetch(ctx context.Context, s registry.Source, fetched map[string]string) (string, error) {
	if s.Kind == registry.File {
		return s.Name, nil
	}
	key := string(s.Kind) + ":" + s.Name + "@" + s.Version
	if path, ok := fetched[key]; ok {
		return path, nil
	}
	place, err := i.Registries.Resolve(ctx, i.Client, s)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256([]byte(key))
	path := filepath.Join(i.Store.dir, downloads, hex.EncodeToString(sum[:12]))
	q := fetch.Request{URL: place.URL, Token: place.Token, MaxBytes: maxArchiveBytes}
	if i.Progress != nil {
		q.Progress = func(have, total int64) { i.Progress(s.Name, have, total) }
	}
	if err := fetch.Download(ctx, i.Client, q, path); err != nil {
		return "", err
	}
	fetched[key] = path
	return path, nil
}

// unpack writes members of the archive at path to whole, in their order, or the
// file at path itself if s names none. Archives have their own order, so members are
// kept in files meanwhile.
func unpack(path string, s registry.Source, members []string, staging string, whole *bounded) (err error) {
	f, err := os.Open(path) //nolint:gosec // downloaded, or named by the operator
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if s.Member == "" {
		_, err := io.Copy(whole, f)
		return err
	}
	if len(members) == 1 {
		return archive.Extract(f, members, whole.left, func(string) (io.WriteCloser, error) { return nopCloser{whole}, nil })
	}
	dir, err := os.MkdirTemp(staging, ".parts-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	part := map[string]string{}
	for n, m := range members {
		part[m] = filepath.Join(dir, fmt.Sprint(n))
	}
	if err := archive.Extract(f, members, whole.left, func(m string) (io.WriteCloser, error) { return os.Create(part[m]) }); err != nil {
		return err
	}
	for _, m := range members {
		if err := appendFile(whole, part[m]); err != nil {
			return err
		}
	}
	return nil
}

func appendFile(w io.Writer, path string) (err error) {
	f, err := os.Open(path) //nolint:gosec // the installer's own
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	_, err = io.Copy(w, f)
	return err
}

// record writes what is in staging, as it is now, beside it.
func record(m Model, staging string) error {
	entries, err := os.ReadDir(staging)
	if err != nil {
		return err
	}
	parts := map[string][]string{}
	for _, f := range m.Files {
		parts[f.Path] = f.Parts
	}
	m.Files, m.Form = nil, prepare.Form
	for _, e := range entries {
		digest, size, err := digestOf(filepath.Join(staging, e.Name()))
		if err != nil {
			return err
		}
		from := parts[e.Name()]
		if from == nil {
			from = []string{"file:" + e.Name()} // made here
		}
		m.Files = append(m.Files, File{Path: e.Name(), Bytes: size, SHA256: digest, Parts: from})
	}
	b, err := json.MarshalIndent(m, "", " ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(staging, fileModel), b, 0o644) //nolint:gosec // others may read it
}

// bounded passes on at most left bytes.
type bounded struct {
	w    io.Writer
	left int64
}

func (b *bounded) Write(p []byte) (int, error) {
	if int64(len(p)) > b.left {
		return 0, &job.Error{Op: "weights.Install", Kind: job.Conflict, Public: "The file that came is longer than the catalogue says."}
	}
	n, err := b.w.Write(p)
	b.left -= int64(n)
	return n, err
}

type nopCloser struct{ io.Writer }

func (nopCloser) Close() error { return nil }
