package single_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/e2e/internal/stage"
)

func TestACommandIsRepeatedAfterItsUploadHasExpired(t *testing.T) {
	t.Parallel()
	ctx := limited(t)
	s := stage.NewSolo(t, bin, stage.SoloConfig{})
	book := filepath.Join(t.TempDir(), "book.txt")
	require.NoError(t, os.WriteFile(book, []byte("It is told once."), 0o600))
	submit := func() string {
		code, stdout, stderr, err := s.Command(ctx, "submit", book, "--language", "en", "--idempotency-key", "book")
		require.NoError(t, err)
		require.Zero(t, code, stderr)
		return stdout
	}
	first := submit()
	db := open(ctx, t, s)
	_, err := db.Exec(ctx, `update uploads set expires_at = now() - interval '1 second'`)
	require.NoError(t, err)
	require.Equal(t, first, submit())
	require.Equal(t, 1, rows(ctx, t, db)["jobs"])
}
