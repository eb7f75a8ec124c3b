package gateway

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/voicemill/voicemill/gateway/internal/edge"
)

// TLS says how the gateway speaks TLS. Without a certificate it does not.
type TLS struct {
	Cert        Words  `help:"PEM files with certificate chains; the first is for clients that ask for no name or an unknown one. Empty speaks no TLS." placeholder:"FILE,..."`
	Key         Words  `help:"PEM files with their keys, in the same order." placeholder:"FILE,..."`
	ClientCA    string `help:"PEM file with the authorities of client certificates; empty asks for none." placeholder:"FILE"`
	RequireCert bool   `help:"Refuse clients without a certificate."`
	Plain       bool   `help:"Serve connections without TLS on the same port, too."`
	Tickets     string `help:"File with the keys of session tickets; made if it does not exist. Processes that share it resume each other's sessions; without it a process and those that replace it do." placeholder:"FILE"`
}

// CheckFiles reports a file of certificates that cannot be used.
func (c Config) CheckFiles() error {
	for i, cert := range c.TLS.Cert {
		if _, err := tls.LoadX509KeyPair(cert, c.TLS.Key[i]); err != nil {
			return fmt.Errorf("tls-cert and tls-key: %w", err)
		}
	}
	if c.TLS.ClientCA == "" {
		return nil
	}
	pem, err := os.ReadFile(c.TLS.ClientCA)
	if err != nil {
		return fmt.Errorf("tls-client-ca: %w", err)
	}
	if !x509.NewCertPool().AppendCertsFromPEM(pem) {
		return fmt.Errorf("tls-client-ca: %s has no certificate", c.TLS.ClientCA)
	}
	return nil
}

// KeepsTickets reports whether the keys of session tickets are this process's
// own: TLS is spoken and no file has them.
func (t TLS) KeepsTickets() bool { return len(t.Cert) > 0 && t.Tickets == "" }

// edge returns what the edge needs, nil without a certificate. own is needed if
// [TLS.KeepsTickets].
func (t TLS) edge(random io.Reader, own *Tickets) (*edge.TLS, error) {
	if len(t.Cert) == 0 {
		return nil, nil //nolint:nilnil // no TLS is what nil means to the edge
	}
	e := &edge.TLS{ClientCAs: t.ClientCA, RequireCert: t.RequireCert, Only: !t.Plain}
	for i, cert := range t.Cert {
		e.Certificates = append(e.Certificates, edge.CertificateFiles{Cert: cert, Key: t.Key[i]})
	}
	if t.KeepsTickets() {
		e.TicketKeys = own.current()
		return e, nil
	}
	keys, err := ticketKeys(t.Tickets, random)
	e.TicketKeys = keys
	return e, err
}

const (
	ticketKeyBytes = 32
	maxTicketKeys  = 8
)

// ticketKeys reads the keys of session tickets, 32 bytes each, the one for new
// tickets first. A file that does not exist is made with one key; of processes
// that do so at the same time one wins and the others read what it wrote.
func ticketKeys(path string, random io.Reader) ([][ticketKeyBytes]byte, error) {
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		if err := makeTicketKey(path, random); err != nil {
			return nil, err
		}
		raw, err = os.ReadFile(path)
	}
	if err != nil {
		return nil, fmt.Errorf("read ticket keys: %w", err)
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("read ticket keys: %w", err)
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return nil, fmt.Errorf("ticket keys in %s can be read by others (mode %04o); want 0600", path, mode)
	}
	n := len(raw) / ticketKeyBytes
	if len(raw)%ticketKeyBytes != 0 || n < 1 || n > maxTicketKeys {
		return nil, fmt.Errorf("ticket keys in %s have %d bytes; want 1 to %d keys of %d", path, len(raw), maxTicketKeys, ticketKeyBytes)
	}
	keys := make([][ticketKeyBytes]byte, n)
	for i := range keys {
		copy(keys[i][:], raw[i*ticketKeyBytes:])
	}
	return keys, nil
}

func makeTicketKey(path string, random io.Reader) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".tickets-*") // with mode 0600
	if err != nil {
		return fmt.Errorf("make a ticket key: %w", err)
	}
	defer func() { _ = os.Remove(f.Name()) }()
	_, err = io.CopyN(f, random, ticketKeyBytes)
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("make a ticket key: %w", err)
	}
	if err := os.Link(f.Name(), path); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("make a ticket key: %w", err)
	}
	return nil
}
