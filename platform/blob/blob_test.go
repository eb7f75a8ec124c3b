package blob_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/blob"
	"github.com/voicemill/voicemill/platform/blob/blobtest"
	"github.com/voicemill/voicemill/platform/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }

func TestEmbeddedServer(t *testing.T) {
	t.Parallel()
	blobtest.Run(t, func(t *testing.T) *blob.Store { t.Helper(); return testkit.S3(t) })
}

func TestEmbeddedServerOfThisProcess(t *testing.T) {
	t.Parallel()
	blobtest.Run(t, func(t *testing.T) *blob.Store { t.Helper(); return testkit.S3InProcess(t) })
}

func TestKeysThatNoStoreKeepsAsTheyAreAreRefused(t *testing.T) {
	t.Parallel()
	s := testkit.S3(t)
	for name, key := range map[string]string{
		"empty": "", "leading slash": "/a", "trailing slash": "a/", "empty name": "a//b", "parent": "a/../b",
		"parent first": "../a", "here": "./a", "hidden": "a/.sgwtmp", "space": "a b", "backslash": `a\b`,
		"control": "a\x00b", "not ASCII": "ä", "query": "a?b", "long name": strings.Repeat("a", 201), "long": strings.Repeat("a/", 600) + "a",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := s.Put(t.Context(), key, strings.NewReader("x"), 1, blob.PutOptions{})
			require.Equal(t, job.Invalid, job.KindOf(err), "%v", err)
			_, _, err = s.PresignPut(t.Context(), key, 1, "audio/wav", 0)
			require.Equal(t, job.Invalid, job.KindOf(err), "%v", err)
		})
	}
}
