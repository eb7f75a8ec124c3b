package blob_test

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/platform/blob"
	"github.com/voicemill/voicemill/platform/config"
	"github.com/voicemill/voicemill/platform/testkit"
)

// overTLS puts TLS before the test's S3 server. It returns the configuration to
// get there and what was asked for: method, query and encryption.
func overTLS(t *testing.T) (blob.Config, func() []string) {
	t.Helper()
	cfg := testkit.S3Config(t)
	dir := t.TempDir()
	cert, certFile, _ := testkit.Certificate(t, dir, "s3.test", nil)
	behind := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: cfg.Endpoint})
	var mu sync.Mutex
	var asked []string
	front := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		asked = append(asked, strings.TrimSpace(r.Method+" "+r.URL.RawQuery+" "+r.Header.Get("X-Amz-Server-Side-Encryption")))
		mu.Unlock()
		r.Header.Del("X-Amz-Server-Side-Encryption") // the server behind has no keys
		behind.ServeHTTP(w, r)
	}))
	front.TLS = &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}
	front.StartTLS()
	t.Cleanup(front.Close)
	cfg.Endpoint, cfg.TLS, cfg.CA = front.Listener.Addr().String(), true, certFile
	return cfg, func() []string {
		mu.Lock()
		defer mu.Unlock()
		return asked
	}
}

func TestObjectsAreAskedToBeEncryptedAtRest(t *testing.T) {
	t.Parallel()
	for mode, header := range map[string]string{"s3": "AES256", "kms": "aws:kms"} {
		cfg, asked := overTLS(t)
		cfg.Encryption = mode
		if mode == "kms" {
			cfg.EncryptionKey = "a-key"
		}
		s, err := blob.Open(t.Context(), cfg)
		require.NoError(t, err)
		t.Cleanup(s.Close)
		_, _ = s.Put(t.Context(), "small", strings.NewReader("hello"), 5, blob.PutOptions{}) // its signature covers the header that is taken off
		_, _ = s.Put(t.Context(), "large", bytes.NewReader(make([]byte, 11<<20)), -1, blob.PutOptions{})
		require.Contains(t, asked(), "PUT "+" "+header)
		require.Contains(t, asked(), "POST uploads= "+header)
	}
}

func TestAnS3ServerIsTrustedByItsCertificateOnly(t *testing.T) {
	t.Parallel()
	cfg, _ := overTLS(t)
	cfg.ConnectWait = 4 * time.Second
	stranger := cfg
	stranger.CA = ""
	_, err := blob.Open(t.Context(), stranger)
	require.ErrorContains(t, err, "certificate")
	stranger.CA = "nowhere.pem"
	_, err = blob.Open(t.Context(), stranger)
	require.ErrorContains(t, err, "nowhere.pem")
}

// A container is given short-lived keys by an address in its environment.
func TestKeysComeFromTheRole(t *testing.T) {
	cfg := testkit.S3Config(t)
	given, key, secret := 0, cfg.AccessKey, cfg.SecretKey.Reveal()
	role := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		given++
		_ = json.NewEncoder(w).Encode(map[string]string{
			"AccessKeyId": key, "SecretAccessKey": secret,
			"Expiration": time.Now().Add(time.Hour).UTC().Format(time.RFC3339), "Code": "Success",
		})
	}))
	defer role.Close()
	t.Setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", role.URL)
	both := cfg
	both.Role = true
	require.ErrorContains(t, both.Validate(), "role")
	cfg.Role, cfg.AccessKey, cfg.SecretKey = true, "", config.Secret{}
	s, err := blob.Open(t.Context(), cfg)
	require.NoError(t, err)
	defer s.Close()
	_, err = s.Put(t.Context(), "small", strings.NewReader("hello"), 5, blob.PutOptions{})
	require.NoError(t, err)
	require.Positive(t, given)
}
