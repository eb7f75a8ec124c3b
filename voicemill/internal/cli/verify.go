package cli

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/voicemill/internal/cli/console"
	"github.com/voicemill/voicemill/voicemill/internal/progress"
)

// maxManifest bounds what verify reads into memory, in bytes: several times the
// manifest of a job of 200,000 segments.
const maxManifest = 1 << 30

// VerifyCommand holds files against their signed manifest.
type VerifyCommand struct {
	Manifest string   `arg:"" optional:"" default:"manifest.json" type:"path" help:"The manifest of a job, with its files beside it; default ${default}."`
	Signer   []string `placeholder:"BASE64" help:"A public key that is trusted; may be repeated. Default: those of the server."`
}

// verified is what --json says about one file.
type verified struct {
	Name   string `json:"name"`
	Result string `json:"result"` // ok, changed or missing
}

// Run checks the signature, then every file that the manifest names.
func (c *VerifyCommand) Run(ctx context.Context, con *console.Console, s *Session) error {
	raw, err := readManifest(c.Manifest)
	if err != nil {
		return &ExitError{Code: ExitUsage, Err: err}
	}
	key, err := job.VerifyManifest(raw)
	if err != nil {
		return &ExitError{Code: ExitChanged, Err: fmt.Errorf("%s is changed: %w", c.Manifest, err)}
	}
	trusted := c.Signer
	if len(trusted) == 0 {
		if trusted, err = s.calls.SigningKeys(ctx); err != nil {
			return err
		}
	}
	if !slices.Contains(trusted, key) {
		return &ExitError{Code: ExitChanged, Err: fmt.Errorf("%s is signed with %s, which nobody here trusts", c.Manifest, key)}
	}
	files, err := named(raw)
	if err != nil {
		return &ExitError{Code: ExitChanged, Err: fmt.Errorf("%s cannot be read: %w", c.Manifest, err)}
	}
	bad := 0
	for _, f := range files {
		v := verified{Name: f.Name}
		if v.Result, err = f.hold(filepath.Dir(c.Manifest)); err != nil {
			return err
		}
		if v.Result != "ok" {
			bad++
		}
		if con.JSON {
			err = con.Document(v)
		} else {
			err = con.Printf("%-7s  %s\n", v.Result, progress.Clean(f.Name))
		}
		if err != nil {
			return err
		}
	}
	if bad > 0 {
		return &ExitError{Code: ExitChanged, Err: fmt.Errorf("%d of %d files are not as they were signed", bad, len(files))}
	}
	con.Hintf("The manifest and its %d files are as they were signed.", len(files))
	return nil
}

func readManifest(name string) ([]byte, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if info.Size() > maxManifest {
		return nil, fmt.Errorf("%s has %d bytes; a manifest has at most %d", name, info.Size(), maxManifest)
	}
	return os.ReadFile(name)
}

// signedFile is a file as a manifest names it.
type signedFile struct {
	Name   string `json:"name"`
	SHA256 string `json:"sha256"`
}

// named lists the files of a manifest, which was found to be genuine.
func named(manifest []byte) ([]signedFile, error) {
	var m struct {
		Files    []signedFile `json:"files"`
		Chapters []struct {
			Artifact string `json:"artifact"`
			SHA256   string `json:"sha256"`
		} `json:"chapters"`
	}
	if err := json.Unmarshal(manifest, &m); err != nil {
		return nil, err
	}
	for _, c := range m.Chapters {
		if c.Artifact != "" {
			m.Files = append(m.Files, signedFile{c.Artifact, c.SHA256})
		}
	}
	for _, f := range m.Files {
		if f.Name != filepath.Base(f.Name) {
			return nil, fmt.Errorf("%q is not the name of a file beside it", f.Name)
		}
	}
	return m.Files, nil
}

// hold compares the file in folder with what was signed.
func (f signedFile) hold(folder string) (result string, err error) {
	in, err := os.Open(filepath.Join(folder, f.Name))
	if errors.Is(err, fs.ErrNotExist) {
		return "missing", nil
	}
	if err != nil {
		return "", err
	}
	defer in.Close() //nolint:errcheck // only read
	h := sha256.New()
	if _, err := io.Copy(h, in); err != nil {
		return "", err
	}
	if hex.EncodeToString(h.Sum(nil)) != f.SHA256 {
		return "changed", nil
	}
	return "ok", nil
}
