// Package tlsrecord writes and reads the records of TLS 1.3 one by one, which
// crypto/tls does not let a test do. The handshake is crypto/tls's: its key log
// gives the secrets from which both directions go on by hand.
package tlsrecord
