package firstkey

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/voicemill/voicemill/gateway"
	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/pg"
)

// State is what became of a key.
type State string

// The states of a key.
const (
	Created  State = "created"   // just now
	Existed  State = "existed"   // its secret is in the file, and works
	Revoked  State = "revoked"   // its secret is in the file, and works no more
	Kept     State = "elsewhere" // the tenant has a key that administers; its secret is not in the file
	maxBytes       = 4 << 10     // of a file; a secret has 39
	name           = "first key"
)

// Request says which key is wanted.
type Request struct {
	Tenant  job.Tenant // made if there is none
	Path    string     // of the file
	Another bool       // make a key if the file holds none, though the tenant has one
	Random  io.Reader
}

// Ensure makes sure that the tenant has a key that administers, and keeps its
// secret in the file. A secret that is in the file already and was never a key
// becomes one: either a former call was cut off between the file and the
// database, or somebody chose it.
func Ensure(ctx context.Context, db *pg.Pool, r Request) (State, error) {
	if err := pg.EnsureTenant(ctx, db, r.Tenant); err != nil {
		return "", err
	}
	ring, err := gateway.OpenKeyring(db, r.Tenant, r.Random)
	if err != nil {
		return "", err
	}
	secret, err := read(r.Path)
	if err != nil {
		return "", err
	}
	if secret != "" {
		return adopt(ctx, ring, r.Path, secret)
	}
	if !r.Another {
		if has, err := ring.Administered(ctx); err != nil || has {
			return Kept, err
		}
	}
	if secret, err = ring.Secret(ctx); err != nil {
		return "", fmt.Errorf("make the first key: %w", err)
	}
	if err := write(r.Path, secret+"\n"); err != nil { // before it is a key: nobody could read it again
		return "", fmt.Errorf("write the first key: %w", err)
	}
	return adopt(ctx, ring, r.Path, secret)
}

// adopt makes the secret in the file a key unless it is or was one.
func adopt(ctx context.Context, ring *gateway.Keyring, path, secret string) (State, error) {
	if has, err := ring.Registered(ctx, secret); err != nil || has {
		return Existed, err
	}
	switch err := ring.Register(ctx, name, secret); {
	case err == nil:
		return Created, nil
	case job.KindOf(err) == job.Conflict:
		return Revoked, nil
	default:
		return "", fmt.Errorf("register the key in %s: %w", path, err)
	}
}

// read returns the secret in the file; one that is empty is as good as none.
func read(path string) (string, error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err == nil && info.Size() > maxBytes {
		err = fmt.Errorf("%s has %d bytes; a key has 39", path, info.Size())
	}
	if err != nil {
		return "", fmt.Errorf("read the first key: %w", err)
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("read the first key: %w", err)
	}
	return strings.Trim(string(raw), " \r\n\t\x00"), nil
}

// write stores text under path, whole and synced, for the owner alone.
func write(path, text string) error {
	aside := path + ".new"
	if err := os.Remove(aside); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := os.OpenFile(aside, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(aside, path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
