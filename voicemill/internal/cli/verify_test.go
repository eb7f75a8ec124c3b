package cli_test

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/pg"
)

func TestAChangedFileIsNamed(t *testing.T) {
	t.Parallel()
	m := startGateway(t, nil)
	key, err := pg.SigningKey(t.Context(), m.db)
	require.NoError(t, err)
	dir := t.TempDir()
	manifest := filepath.Join(dir, "manifest.json")
	put := func(name, text string) {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	sign := func(key ed25519.PrivateKey, body string) {
		sum := sha256.Sum256([]byte(body))
		s, err := json.Marshal(job.SignManifest(key, sum[:]))
		require.NoError(t, err)
		put("manifest.json", body+job.ManifestSeal+string(s)+"}\n")
	}
	body := fmt.Sprintf(`{"files":[{"name":"book.vtt","sha256":"%x"}],"chapters":[{"artifact":"chapter-001.wav","sha256":"%x"},{"state":"failed"}]`,
		sha256.Sum256([]byte("WEBVTT")), sha256.Sum256([]byte("RIFF")))
	sign(key, body)
	put("book.vtt", "WEBVTT")
	put("chapter-001.wav", "RIFF")
	got := m.run(t, "", "verify", manifest)
	require.Zero(t, got.code, got.errOut)
	require.Equal(t, "ok       book.vtt\nok       chapter-001.wav\n", got.out)
	require.Zero(t, m.run(t, "", "verify", manifest, "--signer", job.PublicKey(key)).code)

	put("chapter-001.wav", "RIFE")
	require.NoError(t, os.Remove(filepath.Join(dir, "book.vtt")))
	got = m.run(t, "", "verify", manifest, "--json")
	require.Equal(t, 8, got.code)
	require.Contains(t, got.out, `"book.vtt","result":"missing"`)
	require.Contains(t, got.out, `"chapter-001.wav","result":"changed"`)
	require.Contains(t, m.run(t, "", "verify", manifest).errOut, "2 of 2 files")

	sign(key, `{"files":[{"name":"../x","sha256":""}]`)
	require.Equal(t, 8, m.run(t, "", "verify", manifest).code, "what is beside it only")
	sign(ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)), body)
	require.Contains(t, m.run(t, "", "verify", manifest).errOut, "nobody here trusts")
	put("manifest.json", body+"}\n")
	require.Contains(t, m.run(t, "", "verify", manifest).errOut, "manifest.json is changed")
	require.Equal(t, 2, m.run(t, "", "verify", filepath.Join(dir, "none")).code)
}
