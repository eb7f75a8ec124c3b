package s3d

import (
	"crypto/rand"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/voicemill/voicemill/platform/config"
)

// Config says where the objects are and where the server listens.
type Config struct {
	DataDir string // made if missing
	Listen  string // host:port; default 127.0.0.1:0, which picks a free port at each start
	Cert    string // PEM file with a certificate chain; empty speaks no TLS
	Key     string // PEM file with its key
	MD5     bool   // ETags are MD5s, as most stores' are; else what costs nothing more
}

// Validate reports the first setting that makes no sense.
func (c Config) Validate() error {
	if c.DataDir == "" {
		return errors.New("s3d: no data directory given")
	}
	if (c.Cert == "") != (c.Key == "") {
		return fmt.Errorf("s3d: certificate (%q) and key (%q) must both be given, or neither", c.Cert, c.Key)
	}
	if c.Listen == "" {
		return nil
	}
	if _, _, err := net.SplitHostPort(c.Listen); err != nil {
		return fmt.Errorf("s3d: listen address: %w", err)
	}
	return nil
}

// secure returns a listener that speaks TLS if there is a certificate, else l.
func (c Config) secure(l net.Listener) (net.Listener, error) {
	if c.Cert == "" {
		return l, nil
	}
	pair, err := tls.LoadX509KeyPair(c.Cert, c.Key)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("s3d: read the certificate: %w", err), l.Close())
	}
	return tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}), nil
}

// Credentials are those of the server's only account.
type Credentials struct {
	AccessKey string
	SecretKey config.Secret
}

// stored is the form of Credentials on disk.
type stored struct {
	AccessKey string `json:"access_key"`
	SecretKey string `json:"secret_key"`
}

// credentials reads the account from dir, or makes one on first start.
func credentials(dir string) (Credentials, error) {
	path := filepath.Join(dir, "credentials")
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return newCredentials(path)
	}
	if err != nil {
		return Credentials{}, fmt.Errorf("s3d: read the credentials: %w", err)
	}
	var s stored
	if err := json.Unmarshal(raw, &s); err != nil || s.AccessKey == "" || s.SecretKey == "" {
		return Credentials{}, fmt.Errorf("s3d: %s does not hold credentials; remove it to get new ones", path)
	}
	return Credentials{AccessKey: s.AccessKey, SecretKey: config.NewSecret(s.SecretKey)}, nil
}

func newCredentials(path string) (Credentials, error) {
	s := stored{AccessKey: "VM" + rand.Text()[:18], SecretKey: rand.Text() + rand.Text()}
	raw, err := json.Marshal(s)
	if err != nil {
		return Credentials{}, fmt.Errorf("s3d: encode the credentials: %w", err)
	}
	aside := path + ".new"
	f, err := os.OpenFile(aside, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return Credentials{}, fmt.Errorf("s3d: write the credentials: %w", err)
	}
	_, err = f.Write(raw)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return Credentials{}, fmt.Errorf("s3d: write the credentials: %w", err)
	}
	if err := os.Rename(aside, path); err != nil {
		return Credentials{}, fmt.Errorf("s3d: store the credentials: %w", err)
	}
	return Credentials{AccessKey: s.AccessKey, SecretKey: config.NewSecret(s.SecretKey)}, syncPath(filepath.Dir(path))
}

func takeLock(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("s3d: open the lock: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("s3d: another process already serves %s", dir)
		}
		return nil, fmt.Errorf("s3d: lock %s: %w", dir, err)
	}
	return f, nil
}

// hasXattr reports whether files below dir can carry extended attributes.
func hasXattr(dir string) bool {
	const name = "user.voicemill.probe"
	if unix.Setxattr(dir, name, []byte("1"), 0) != nil {
		return false
	}
	return unix.Removexattr(dir, name) == nil
}

// syncPath makes a file's data, or a folder's entries, durable.
func syncPath(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("s3d: sync: %w", err)
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("s3d: sync %s: %w", path, err)
	}
	return nil
}
