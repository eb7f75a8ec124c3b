package assemble_test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/blob"
	"github.com/voicemill/voicemill/platform/bus"
	"github.com/voicemill/voicemill/worker/internal/plantest"
)

// The lines of Python in docs/manifest.md verify what was made here, and name a
// file with a changed byte.
func TestTheManifestIsVerifiedAsTheDocumentationSays(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	p := plantest.Insert(t, b.db, plantest.Book{Subtitles: []string{job.SubtitlesSRT}, Chapters: []plantest.Chapter{plantest.Sentences("One", "a", "b")}})
	b.render(t, p, func(bus.Segment) (int, []int16) { return rate, ramp(1000) })
	b.do(t, p.ID, 1)
	encoded, sum := []byte("what an encoder made"), sha256.Sum256([]byte("what an encoder made"))
	key := fmt.Sprintf("jobs/%s/%s/x/book.m4b", p.Tenant, p.ID)
	_, err := b.blob.Put(t.Context(), key, bytes.NewReader(encoded), int64(len(encoded)), blob.PutOptions{})
	require.NoError(t, err)
	_, err = b.db.Exec(t.Context(), `insert into artifacts (job_id, name, media_type, object_key, bytes, sha256)
		values ($1, 'book.m4b', 'audio/mp4', $2, $3, $4)`, p.ID, key, len(encoded), sum[:])
	require.NoError(t, err)
	b.do(t, p.ID, 0)
	dir := t.TempDir()
	for _, name := range []string{"chapter-001.wav", "chapter-001.srt", "book.srt", "book.m4b", "manifest.json"} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), b.read(t, p.ID, name), 0o600))
	}
	doc, err := os.ReadFile("../../../docs/manifest.md")
	require.NoError(t, err)
	program := regexp.MustCompile("(?s)```python\n(.*?)```").FindSubmatch(doc)
	require.NotNil(t, program)
	signer, err := b.store.SigningKey(t.Context())
	require.NoError(t, err)
	verify := func() (string, error) {
		out, err := exec.CommandContext(t.Context(), "python3", "-c", string(program[1]), job.PublicKey(signer), dir).CombinedOutput() //nolint:gosec // from our own documentation
		return string(out), err
	}
	said, err := verify()
	require.NoError(t, err, said)
	for _, name := range []string{"book.srt", "book.m4b", "chapter-001.wav", "manifest.json"} {
		raw, err := os.ReadFile(filepath.Join(dir, name))
		require.NoError(t, err)
		raw[len(raw)/2] ^= 1
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), raw, 0o600))
		said, err = verify()
		require.Error(t, err)
		if name != "manifest.json" {
			require.Equal(t, name+"\n", said)
		}
		raw[len(raw)/2] ^= 1
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), raw, 0o600))
	}
}
