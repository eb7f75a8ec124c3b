package pgd

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// The server asks everybody for a password, whose file is readable by this
// process's user alone: what else runs as the server's user, who is nobody under
// root, has no way in.
const (
	secretFile = "password"
	hbaFile    = "hba.conf"
	hbaRules   = "local all all scram-sha-256\n"
)

// readSecret returns the password, or "" if there is none yet.
func (l *layout) readSecret() (string, error) {
	raw, err := os.ReadFile(filepath.Join(l.base, secretFile))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("pgd: read the password: %w", err)
	}
	return strings.TrimSpace(string(raw)), nil
}

// secure makes sure that the server asks for a password, and that there is one. A
// database that was made without gets it here.
func (s *Server) secure(ctx context.Context) error {
	if err := writeDurably(filepath.Join(s.layout.base, hbaFile), hbaRules, 0o644); err != nil {
		return err
	}
	var err error
	if s.layout.secret, err = s.layout.readSecret(); err != nil || s.layout.secret != "" {
		return err
	}
	secret := rand.Text()
	if err := s.single(ctx, s.layout.cluster, "alter role "+superuser+" password '"+secret+"'"); err != nil {
		return fmt.Errorf("pgd: set the password: %w", err)
	}
	s.layout.secret = secret // known to the database before it is kept: a start in between sets another
	return writeDurably(filepath.Join(s.layout.base, secretFile), secret+"\n", 0o600)
}

// writeDurably stores text under path, whole and synced, or leaves what was there.
func writeDurably(path, text string, mode fs.FileMode) error {
	aside := path + ".new"
	if err := os.Remove(aside); err != nil && !errors.Is(err, fs.ErrNotExist) { // its owner may be another
		return fmt.Errorf("pgd: write %s: %w", path, err)
	}
	f, err := os.OpenFile(aside, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode)
	if err != nil {
		return fmt.Errorf("pgd: write %s: %w", path, err)
	}
	_, err = f.WriteString(text)
	if err := errors.Join(err, f.Chmod(mode), f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("pgd: write %s: %w", path, err)
	}
	if err := os.Rename(aside, path); err != nil {
		return fmt.Errorf("pgd: write %s: %w", path, err)
	}
	return syncDir(filepath.Dir(path))
}

// DSN returns the connection string of the server in dataDir, which may be
// another process's. Only the user who started that can read it.
func DSN(dataDir string) (string, error) {
	base, err := filepath.Abs(dataDir)
	if err == nil {
		base, err = filepath.EvalSymlinks(base)
	}
	if err != nil {
		return "", fmt.Errorf("pgd: %w", err)
	}
	l := &layout{base: base}
	l.placeSocket()
	if l.secret, err = l.readSecret(); err != nil {
		return "", err
	}
	if l.secret == "" {
		return "", fmt.Errorf("pgd: there is no database in %s", base)
	}
	return l.dsn(), nil
}
