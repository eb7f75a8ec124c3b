package job_test

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/job"
)

func sealed(tb testing.TB, key ed25519.PrivateKey, body string) []byte {
	tb.Helper()
	sum := sha256.Sum256([]byte(body))
	s, err := json.Marshal(job.SignManifest(key, sum[:]))
	require.NoError(tb, err)
	return []byte(body + job.ManifestSeal + string(s) + "}\n")
}

func TestAManifestIsSignedByteForByte(t *testing.T) {
	t.Parallel()
	key := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	m := sealed(t, key, `{"format":"voicemill manifest 1"`)
	require.True(t, json.Valid(m))
	got, err := job.VerifyManifest(m)
	require.NoError(t, err)
	require.Equal(t, job.PublicKey(key), got)
	for i := range m {
		m[i] ^= 1
		got, err := job.VerifyManifest(m)
		require.False(t, err == nil && got == job.PublicKey(key), "byte %d was changed and nobody saw it", i)
		m[i] ^= 1
	}
}

func FuzzVerifyManifest(f *testing.F) {
	key := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	good := sealed(f, key, "{")
	f.Add(good)
	f.Add([]byte(job.ManifestSeal + "{}}\n"))
	f.Add([]byte("{}"))
	f.Fuzz(func(t *testing.T, manifest []byte) {
		if _, err := job.VerifyManifest(manifest); err == nil {
			require.Contains(t, string(manifest), job.ManifestSeal)
		}
	})
}
