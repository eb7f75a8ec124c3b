package seal_test

import (
	"bytes"
	"encoding/base64"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/seal"
)

func key(id string, fill byte) string {
	return id + ":" + base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{fill}, 32))
}

func parsed(t *testing.T, text string) seal.Keys {
	t.Helper()
	k, err := seal.Parse(text)
	require.NoError(t, err)
	return k
}

func TestWhatIsSealedOpensInItsPlaceOnly(t *testing.T) {
	t.Parallel()
	k := parsed(t, key("a", 1))
	by, sealed, err := k.Seal([]byte("a secret"), "bkt_1")
	require.NoError(t, err)
	require.Equal(t, "a", by)
	require.NotContains(t, string(sealed), "secret")
	plain, err := k.Open(by, sealed, "bkt_1")
	require.NoError(t, err)
	require.Equal(t, "a secret", string(plain))
	_, again, err := k.Seal([]byte("a secret"), "bkt_1")
	require.NoError(t, err)
	require.NotEqual(t, sealed, again, "each has a nonce of its own")

	_, err = k.Open(by, sealed, "bkt_2")
	require.Error(t, err)
	for i := range sealed {
		changed := bytes.Clone(sealed)
		changed[i] ^= 1
		_, err := k.Open(by, changed, "bkt_1")
		require.Error(t, err, "byte %d", i)
		require.Equal(t, job.Internal, job.KindOf(err))
	}
	for i := range sealed {
		_, err := k.Open(by, sealed[:i], "bkt_1")
		require.Error(t, err, "the first %d bytes", i)
	}
}

func TestKeysAreChangedWithoutLosingWhatWasSealed(t *testing.T) {
	t.Parallel()
	by, sealed, err := parsed(t, key("old", 1)).Seal([]byte("x"), "p")
	require.NoError(t, err)
	both := parsed(t, key("new", 2)+","+key("old", 1))
	plain, err := both.Open(by, sealed, "p")
	require.NoError(t, err)
	require.Equal(t, "x", string(plain))
	by, _, err = both.Seal([]byte("x"), "p")
	require.NoError(t, err)
	require.Equal(t, "new", by)
	_, err = parsed(t, key("new", 2)).Open("old", sealed, "p")
	require.ErrorContains(t, err, `"old" is not configured`)
	require.True(t, job.Retryable(err), "an operator mends it")
	_, err = parsed(t, key("old", 3)).Open("old", sealed, "p")
	require.Error(t, err, "another key under that id")
}

func TestBadKeysAreNamedAndNotShown(t *testing.T) {
	t.Parallel()
	for text, says := range map[string]string{
		"QUJD":                          "key 1 is not id:base64",
		"A:" + strings.Repeat("A", 44):  "key 1 is not id:base64",
		"a:QUJD":                        `"a" is not 32 bytes`,
		"a:not base64 at all":           `"a" is not 32 bytes`,
		key("a", 1) + "," + key("a", 2): `"a" is given twice`,
	} {
		_, err := seal.Parse(text)
		require.ErrorContains(t, err, says)
		require.NotContains(t, err.Error(), "QUJD")
	}
	none := parsed(t, " ")
	require.False(t, none.Any())
	_, _, err := none.Seal([]byte("x"), "p")
	require.Equal(t, job.Unavailable, job.KindOf(err))
}
