package pgd

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// layout is where things are: base/lock, base/password, base/hba.conf (who is let
// in), base/cluster (Postgres's own), and the socket's folder, which is outside when base's path is too long for one.
type layout struct {
	base, cluster, socketDir string
	secret                   string // the password
	tempSocket               bool   // socketDir is ours to remove
	lock                     *os.File
}

// prepare makes the folders, takes the lock and hands everything to the owner.
func prepare(dataDir string, o owner) (*layout, error) {
	base, err := filepath.Abs(dataDir)
	if err != nil {
		return nil, fmt.Errorf("pgd: %w", err)
	}
	// The owner must be able to pass through the folders that are missing yet.
	if err := os.MkdirAll(filepath.Dir(base), 0o711); err != nil { //nolint:gosec // to pass, not to list
		return nil, fmt.Errorf("pgd: make the data directory: %w", err)
	}
	if err := os.MkdirAll(base, 0o700); err != nil {
		return nil, fmt.Errorf("pgd: make the data directory: %w", err)
	}
	if base, err = filepath.EvalSymlinks(base); err != nil {
		return nil, fmt.Errorf("pgd: %w", err)
	}
	if o.switches {
		if err := reachable(base, o); err != nil {
			return nil, err
		}
	}
	l := &layout{base: base, cluster: filepath.Join(base, "cluster")}
	if l.lock, err = takeLock(filepath.Join(base, "lock"), base); err != nil {
		return nil, err
	}
	if err := errors.Join(l.makeSocketDir(o), l.handOver(o)); err != nil {
		l.release()
		return nil, err
	}
	return l, nil
}

// handOver gives the directory to the owner: the folder itself, and what is in
// it where that belongs to somebody else, such as a copy made by root. A former
// server may still be at work there, so files may vanish meanwhile.
func (l *layout) handOver(o owner) error {
	if !o.switches {
		return nil
	}
	if err := os.Lchown(l.base, o.uid, o.gid); err != nil {
		return fmt.Errorf("pgd: hand the data directory to uid %d: %w", o.uid, err)
	}
	st, err := os.Lstat(l.cluster)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("pgd: %w", err)
	}
	if sys, ok := st.Sys().(*syscall.Stat_t); ok && int(sys.Uid) == o.uid {
		return nil
	}
	err = filepath.WalkDir(l.cluster, func(path string, _ fs.DirEntry, err error) error {
		if err == nil {
			err = os.Lchown(path, o.uid, o.gid)
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("pgd: hand the database to uid %d: %w", o.uid, err)
	}
	return nil
}

func takeLock(path, base string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("pgd: open the lock: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("pgd: another process already runs Postgres in %s", base)
		}
		return nil, fmt.Errorf("pgd: lock %s: %w", path, err)
	}
	return f, nil
}

// placeSocket prefers base/socket; a path too long for a socket moves to a
// folder in the temporary directory whose name depends on base alone.
func (l *layout) placeSocket() {
	l.socketDir = filepath.Join(l.base, "socket")
	if len(filepath.Join(l.socketDir, socketName)) > maxSocketLen {
		sum := sha256.Sum256([]byte(l.base))
		name := "voicemill-pg-" + hex.EncodeToString(sum[:8])
		l.socketDir, l.tempSocket = filepath.Join(os.TempDir(), name), true
		if len(filepath.Join(l.socketDir, socketName)) > maxSocketLen {
			l.socketDir = filepath.Join("/tmp", name)
		}
	}
}

// makeSocketDir makes the socket's folder, private to the owner.
func (l *layout) makeSocketDir(o owner) error {
	l.placeSocket()
	if err := os.Mkdir(l.socketDir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("pgd: make the socket's directory: %w", err)
	}
	st, err := os.Lstat(l.socketDir)
	if err != nil {
		return fmt.Errorf("pgd: %w", err)
	}
	sys, ok := st.Sys().(*syscall.Stat_t)
	mine := ok && st.IsDir() && st.Mode().Perm() == 0o700 && (int(sys.Uid) == o.uid || int(sys.Uid) == os.Geteuid())
	if !mine {
		return fmt.Errorf("pgd: %s, where the socket belongs, is not a private directory of uid %d; remove it", l.socketDir, o.uid)
	}
	if o.switches {
		if err := os.Lchown(l.socketDir, o.uid, o.gid); err != nil {
			return fmt.Errorf("pgd: hand the socket's directory to uid %d: %w", o.uid, err)
		}
	}
	return nil
}

// release gives the lock back and removes what lies outside base.
func (l *layout) release() {
	if l.tempSocket {
		_ = os.RemoveAll(l.socketDir) // a leftover is reused by the next start
	}
	_ = l.lock.Close() // closing frees the lock
}

// reachable reports an error that names the folder which o may not pass through on the way to base.
func reachable(base string, o owner) error {
	for dir := filepath.Dir(base); ; dir = filepath.Dir(dir) {
		st, err := os.Stat(dir)
		if err != nil {
			return fmt.Errorf("pgd: %w", err)
		}
		if sys, ok := st.Sys().(*syscall.Stat_t); ok && !mayEnter(st.Mode(), sys, o) {
			return fmt.Errorf("pgd: Postgres cannot reach %s: this process is root, so Postgres runs as uid %d, "+
				"and that user may not enter %s (mode %04o); choose a data directory outside it, such as /var/lib/voicemill, or run: chmod o+x %s",
				base, o.uid, dir, st.Mode().Perm(), dir)
		}
		if dir == filepath.Dir(dir) {
			return nil
		}
	}
}

func mayEnter(mode fs.FileMode, sys *syscall.Stat_t, o owner) bool {
	switch {
	case int(sys.Uid) == o.uid:
		return mode&0o100 != 0
	case int(sys.Gid) == o.gid:
		return mode&0o010 != 0
	}
	return mode&0o001 != 0
}

// major returns the version that made the cluster, or "" if there is none yet.
func (l *layout) major() string {
	raw, err := os.ReadFile(filepath.Join(l.cluster, "PG_VERSION"))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(raw))
}

// dsn quotes the folder, which may hold spaces.
func (l *layout) dsn() string {
	dir := strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(l.socketDir)
	return fmt.Sprintf("host='%s' port=5432 user=%s password=%s dbname=%s sslmode=disable", dir, superuser, l.secret, superuser)
}
