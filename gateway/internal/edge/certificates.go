package edge

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// TLS says how the server speaks TLS on its port. Plain connections are still
// served beside it unless Only is set.
type TLS struct {
	Certificates []CertificateFiles // chosen by server name; the first is for clients that give none that fits
	ClientCAs    string             // file of authorities for client certificates; empty asks for none
	RequireCert  bool               // refuse clients without a certificate; needs ClientCAs
	Only         bool               // refuse connections that are not TLS
	MinVersion   uint16             // default tls.VersionTLS12

	// TicketKeys, if any, are used for session tickets: the first for new ones,
	// all for old ones. Processes that share them resume each other's sessions.
	TicketKeys [][32]byte

	CheckEvery time.Duration // how often the files are looked at; default 30 s
}

// CertificateFiles names a PEM certificate chain and its key.
type CertificateFiles struct{ Cert, Key string }

// ErrNoTLS is what [Server.Reload] returns if the server speaks no TLS.
var ErrNoTLS = errors.New("the server has no TLS configuration to reload")

// certificates holds what the files said when they were last read. It is safe
// for concurrent use.
type certificates struct {
	spec    TLS
	base    *tls.Config // carries the ticket keys over reloads
	current atomic.Pointer[tls.Config]

	mu    sync.Mutex
	seen  map[string]fileState // of the files that current was made of
	alpns []string
}

type fileState struct {
	at   time.Time
	size int64
}

func newCertificates(spec TLS, protocols []string) (*certificates, error) {
	if len(spec.Certificates) == 0 {
		return nil, errors.New("no certificate is given")
	}
	if spec.RequireCert && spec.ClientCAs == "" {
		return nil, errors.New("client certificates are required, but no authorities for them are given")
	}
	if spec.MinVersion == 0 {
		spec.MinVersion = tls.VersionTLS12
	}
	if spec.MinVersion < tls.VersionTLS12 {
		return nil, fmt.Errorf("minimum version is %s; want TLS 1.2 or later", tls.VersionName(spec.MinVersion))
	}
	if spec.CheckEvery == 0 {
		spec.CheckEvery = 30 * time.Second
	}
	cs := &certificates{spec: spec, alpns: protocols}
	if err := cs.reload(); err != nil {
		return nil, err
	}
	cs.base = cs.current.Load().Clone()
	cs.base.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { return cs.current.Load(), nil }
	if len(spec.TicketKeys) > 0 {
		cs.base.SetSessionTicketKeys(spec.TicketKeys)
	}
	return cs, nil
}

// reload reads the files. If any of them is not usable, the old ones stay.
func (cs *certificates) reload() error {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	seen := cs.look()
	cfg := &tls.Config{MinVersion: cs.spec.MinVersion, NextProtos: cs.alpns}
	for _, f := range cs.spec.Certificates {
		cert, err := tls.LoadX509KeyPair(f.Cert, f.Key)
		if err != nil {
			return fmt.Errorf("load certificate %s: %w", f.Cert, err)
		}
		cfg.Certificates = append(cfg.Certificates, cert)
	}
	if cs.spec.ClientCAs != "" {
		pem, err := os.ReadFile(cs.spec.ClientCAs)
		if err != nil {
			return fmt.Errorf("read client authorities: %w", err)
		}
		cfg.ClientCAs = x509.NewCertPool()
		if !cfg.ClientCAs.AppendCertsFromPEM(pem) {
			return fmt.Errorf("no certificate in client authorities %s", cs.spec.ClientCAs)
		}
		cfg.ClientAuth = tls.VerifyClientCertIfGiven
		if cs.spec.RequireCert {
			cfg.ClientAuth = tls.RequireAndVerifyClientCert
		}
	}
	cs.seen = seen
	cs.current.Store(cfg)
	return nil
}

// look returns the state of every file, to be compared with what was loaded.
func (cs *certificates) look() map[string]fileState {
	seen := make(map[string]fileState)
	for _, f := range cs.spec.Certificates {
		seen[f.Cert], seen[f.Key] = stat(f.Cert), stat(f.Key)
	}
	if cs.spec.ClientCAs != "" {
		seen[cs.spec.ClientCAs] = stat(cs.spec.ClientCAs)
	}
	return seen
}

func stat(name string) fileState {
	info, err := os.Stat(name)
	if err != nil {
		return fileState{}
	}
	return fileState{info.ModTime(), info.Size()}
}

func (cs *certificates) changed() bool {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	for name, now := range cs.look() {
		if cs.seen[name] != now {
			return true
		}
	}
	return false
}

// watch reloads when a file changes, until ctx is done.
func (cs *certificates) watch(ctx context.Context, log *slog.Logger) {
	t := time.NewTicker(cs.spec.CheckEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		if !cs.changed() {
			continue
		}
		if err := cs.reload(); err != nil {
			log.LogAttrs(ctx, slog.LevelError, "certificates changed but cannot be used", slog.Any("error", err))
			continue
		}
		log.LogAttrs(ctx, slog.LevelInfo, "certificates reloaded")
	}
}
