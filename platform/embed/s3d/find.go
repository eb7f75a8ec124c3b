package s3d

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
)

// Account is a way into a server that another process of this user runs.
type Account struct {
	Credentials Credentials
	Region      string

	dir string
}

// Find returns the way into the server whose data directory is dataDir.
func Find(dataDir string) (*Account, error) {
	dir, err := filepath.Abs(dataDir)
	if err != nil {
		return nil, fmt.Errorf("s3d: %w", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "credentials")); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("s3d: there is no bucket in %s", dir)
	}
	creds, err := credentials(dir)
	if err != nil {
		return nil, err
	}
	return &Account{Credentials: creds, Region: region, dir: dir}, nil
}

// InProcessConn returns a connection to the server; only its own user gets one.
func (a *Account) InProcessConn(ctx context.Context) (net.Conn, error) {
	path := filepath.Join(a.dir, socketName)
	if len(path) <= maxSocketPath {
		return new(net.Dialer).DialContext(ctx, "unix", path)
	}
	dir, err := os.Open(a.dir)
	if err != nil {
		return nil, fmt.Errorf("s3d: %w", err)
	}
	conn, err := new(net.Dialer).DialContext(ctx, "unix", fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), socketName))
	return conn, errors.Join(err, dir.Close())
}
