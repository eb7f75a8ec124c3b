package single_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/api/jobdoc"
	"github.com/voicemill/voicemill/e2e/internal/caller"
	"github.com/voicemill/voicemill/e2e/internal/stage"
	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/config"
	"github.com/voicemill/voicemill/platform/pg"
	"github.com/voicemill/voicemill/platform/testkit"
)

var bin string // the folder with the built commands

func TestMain(m *testing.M) { os.Exit(stage.Main(m, &bin)) }

// testLimit bounds one test on a machine that is busy with others.
const testLimit = 8 * time.Minute

func limited(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeoutCause(t.Context(), testLimit, fmt.Errorf("the test's limit of %s is spent", testLimit))
	t.Cleanup(cancel)
	return ctx
}

// line is the smallest job.
func line(text string) map[string]any {
	return map[string]any{"input": map[string]any{"text": text}, "language": "en"}
}

const (
	bookChapters   = 10
	bookParagraphs = 40
)

// longBook takes seconds to speak. No two paragraphs are the same, so that
// nothing is reused.
func longBook() map[string]any {
	var b strings.Builder
	for c := range bookChapters {
		fmt.Fprintf(&b, "# Chapter %d\n\n", c+1)
		for p := range bookParagraphs {
			fmt.Fprintf(&b, "In chapter %d this is paragraph number %d. It was written to be spoken once, and it says so plainly. Nobody reads it twice.\n\n", c+1, p+1)
		}
	}
	return map[string]any{"input": map[string]any{"text": b.String(), "media_type": job.MediaMarkdown}, "language": "en"}
}

// files returns the digest of every file of a job. What a manifest says of the
// id is left out.
func files(ctx context.Context, t *testing.T, c *caller.Caller, doc jobdoc.Document) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, a := range doc.Artifacts {
		data, err := c.Artifact(ctx, string(doc.ID), a.Name)
		require.NoError(t, err)
		require.Equal(t, a.SHA256, digest(data), "%s is not what its document says", a.Name)
		text := string(data)
		if at := strings.LastIndex(text, job.ManifestSeal); a.Name == "manifest.json" && at >= 0 {
			text = text[:at] // each deployment signs with a key of its own
		}
		all[a.Name] = digest([]byte(strings.ReplaceAll(text, string(doc.ID), "job")))
	}
	return all
}

func digest(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// open connects to the private Postgres of s.
func open(ctx context.Context, t *testing.T, s *stage.Solo) *pg.Pool {
	t.Helper()
	dsn, err := s.DSN()
	require.NoError(t, err)
	db, err := pg.Connect(ctx, pg.Config{DSN: config.NewSecret(dsn), MaxConns: 2}, testkit.Log(t))
	require.NoError(t, err)
	t.Cleanup(db.Close)
	return db
}

// rows counts the rows of every table that a job leaves rows in.
func rows(ctx context.Context, t *testing.T, db *pg.Pool) map[string]int {
	t.Helper()
	all := map[string]int{}
	for _, table := range []string{"jobs", "chapters", "segments", "renditions", "artifacts", "outbox", "deliveries", "cancellations", "idempotency_keys"} {
		var n int
		require.NoError(t, db.QueryRow(ctx, "select count(*) from "+table).Scan(&n))
		all[table] = n
	}
	return all
}

// objects counts the objects in the bucket of s by the first part of their key.
func objects(t *testing.T, s *stage.Solo) map[string]int {
	t.Helper()
	all := map[string]int{}
	root := filepath.Join(s.Data, "s3", "objects", "voicemill")
	require.NoError(t, filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(root, path)
		first, _, _ := strings.Cut(rel, string(filepath.Separator))
		all[first]++
		return err
	}))
	return all
}

// perform submits a job and waits for its end.
func perform(ctx context.Context, t *testing.T, c *caller.Caller, key string, spec map[string]any) jobdoc.Document {
	t.Helper()
	doc, err := c.Submit(ctx, key, spec)
	require.NoError(t, err)
	doc, err = c.Await(ctx, string(doc.ID))
	require.NoError(t, err)
	return doc
}

func requireSucceeded(t *testing.T, doc jobdoc.Document) {
	t.Helper()
	require.Equal(t, job.StateSucceeded, doc.State, "%+v %+v", doc.Error, doc.Failures)
}
