// Package tokentest is a small OpenID Connect issuer for tests: discovery, keys
// that rotate, and tokens.
package tokentest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
)

// Claims is the payload of a token.
type Claims map[string]any

// Issuer serves its configuration and its present key.
type Issuer struct {
	URL string

	t      testing.TB
	server *httptest.Server

	mu      sync.Mutex
	n       int               // guarded by mu: names the key
	key     *ecdsa.PrivateKey // guarded by mu
	fetches int               // guarded by mu
	broken  bool              // guarded by mu
}

// NewIssuer starts an issuer that ends with the test.
func NewIssuer(tb testing.TB) *Issuer {
	tb.Helper()
	i := &Issuer{t: tb}
	i.Rotate()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		i.answer(w, map[string]any{"issuer": i.URL, "jwks_uri": i.URL + "/keys"})
	})
	mux.HandleFunc("GET /keys", func(w http.ResponseWriter, _ *http.Request) { i.answer(w, i.keys()) })
	i.server = httptest.NewServer(mux)
	i.URL = i.server.URL
	tb.Cleanup(i.server.Close)
	return i
}

func (i *Issuer) answer(w http.ResponseWriter, v any) {
	i.mu.Lock()
	broken := i.broken
	i.mu.Unlock()
	if broken {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v)
}

func (i *Issuer) keys() map[string]any {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.fetches++
	point, err := i.key.PublicKey.Bytes() // 4, x, y
	if err != nil {
		i.t.Error(err)
		return nil
	}
	return map[string]any{"keys": []any{map[string]any{
		"kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": fmt.Sprint(i.n),
		"x": encode(point[1:33]), "y": encode(point[33:]),
	}}}
}

// Close ends the issuer before the test does.
func (i *Issuer) Close() { i.server.Close() }

// Break makes the issuer answer 502, or again as it should.
func (i *Issuer) Break(broken bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.broken = broken
}

// Fetches returns how often the keys were asked for.
func (i *Issuer) Fetches() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.fetches
}

// Rotate replaces the key; tokens that were signed before are worth nothing.
func (i *Issuer) Rotate() {
	i.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		i.t.Fatal(err)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.key, i.n = key, i.n+1
}

// Sign returns a token with these claims, and iss if they do not have it.
func (i *Issuer) Sign(c Claims) string {
	i.mu.Lock()
	head := map[string]any{"alg": "ES256", "typ": "at+jwt", "kid": fmt.Sprint(i.n)}
	i.mu.Unlock()
	return i.SignAs(head, c)
}

// SignAs is Sign with a header of the caller's.
func (i *Issuer) SignAs(head map[string]any, c Claims) string {
	i.t.Helper()
	if _, ok := c["iss"]; !ok {
		c["iss"] = i.URL
	}
	signed := i.json(head) + "." + i.json(c)
	sum := sha256.Sum256([]byte(signed))
	i.mu.Lock()
	defer i.mu.Unlock()
	r, s, err := ecdsa.Sign(rand.Reader, i.key, sum[:])
	if err != nil {
		i.t.Fatal(err)
	}
	signature := make([]byte, 64)
	r.FillBytes(signature[:32])
	s.FillBytes(signature[32:])
	return signed + "." + encode(signature)
}

func (i *Issuer) json(v any) string {
	i.t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		i.t.Fatal(err)
	}
	return encode(b)
}

func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }
