package weights

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"github.com/voicemill/voicemill/job"
)

// lock keeps other processes from changing the store until unlock.
func (s Store) lock() (unlock func(), err error) {
	if err := os.MkdirAll(filepath.Join(s.dir, downloads), 0o755); err != nil { //nolint:gosec // other users may read models
		return nil, fmt.Errorf("make the models' folder: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(s.dir, ".lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock the models' folder: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, errors.Join(&job.Error{
			Op: "weights.lock", Kind: job.Conflict, Public: fmt.Sprintf("Another process is changing the models in %s.", s.dir), Err: err,
		}, f.Close())
	}
	return func() { _ = f.Close() }, nil
}
