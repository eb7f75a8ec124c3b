package diskfull_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/voicemill/voicemill/e2e/internal/stage"
)

// disk is a small file system, and a file that takes the room that others shall not have.
type disk struct {
	path    string
	ballast string
}

// newDisk mounts a file system of mib mebibytes and unmounts it with the test.
func newDisk(t *testing.T, mib int64) disk {
	t.Helper()
	path := filepath.Join(stage.Dir(t), "disk")
	require.NoError(t, os.Mkdir(path, 0o755)) //nolint:gosec // Postgres runs as another user
	err := unix.Mount("voicemill", path, "tmpfs", 0, fmt.Sprintf("size=%dm,mode=0755", mib))
	require.NoError(t, err, "mount a small file system: this test must run as root, with the right to mount")
	t.Cleanup(func() { require.NoError(t, unix.Unmount(path, unix.MNT_DETACH)) })
	return disk{path: path, ballast: filepath.Join(path, "ballast")}
}

// free returns how many bytes are free.
func (d disk) free() (int64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(d.path, &st); err != nil {
		return 0, err
	}
	return int64(st.Bavail) * st.Bsize, nil //nolint:gosec // a small file system
}

// leave takes all room but left bytes.
func (d disk) leave(left int64) error {
	free, err := d.free()
	if err != nil || free <= left {
		return err
	}
	f, err := os.OpenFile(d.ballast, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	return errors.Join(unix.Fallocate(int(f.Fd()), 0, 0, free-left), f.Close()) //nolint:gosec // a descriptor
}

// relieve gives back what leave took.
func (d disk) relieve() error { return os.Remove(d.ballast) }
