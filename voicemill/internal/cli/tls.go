package cli

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"os"

	"github.com/voicemill/voicemill/voicemill/internal/cli/console"
)

// tls says how to speak TLS: with which certificate of ours, and whom to trust.
// nil leaves it to the system.
func (g *Globals) tls(con *console.Console) (*tls.Config, error) {
	cert, key := cmp.Or(g.Cert, con.Getenv("VOICEMILL_CERT")), cmp.Or(g.CertKey, con.Getenv("VOICEMILL_CERT_KEY"))
	ca := cmp.Or(g.CA, con.Getenv("VOICEMILL_CA"))
	if (cert == "") != (key == "") {
		return nil, usagef("--cert and --cert-key go together")
	}
	if cert == "" && ca == "" {
		return nil, nil //nolint:nilnil // the system's way
	}
	cfg := &tls.Config{}
	if cert != "" {
		pair, err := tls.LoadX509KeyPair(cert, key)
		if err != nil {
			return nil, usagef("read --cert and --cert-key: %w", err)
		}
		cfg.Certificates = []tls.Certificate{pair}
	}
	if ca != "" {
		pem, err := os.ReadFile(ca)
		if err != nil {
			return nil, usagef("read --ca: %w", err)
		}
		if cfg.RootCAs, err = x509.SystemCertPool(); err != nil { // the bucket may have a certificate of theirs
			cfg.RootCAs = x509.NewCertPool()
		}
		if !cfg.RootCAs.AppendCertsFromPEM(pem) {
			return nil, usagef("--ca %s has no certificate in it", ca)
		}
	}
	return cfg, nil
}
