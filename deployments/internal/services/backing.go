package services

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/platform/embed/natsd"
	"github.com/voicemill/voicemill/platform/testkit"
)

// Backing starts what the services need, for the test alone, and returns the
// environment that has them find it.
func Backing(tb testing.TB) map[string]string {
	tb.Helper()
	bus, err := natsd.Start(tb.Context(), natsd.Config{StoreDir: tb.TempDir(), Listen: "127.0.0.1:0"}, testkit.Log(tb))
	require.NoError(tb, err)
	tb.Cleanup(bus.Stop)
	bucket := testkit.S3Config(tb)
	return map[string]string{
		"VOICEMILL_DB_DSN": testkit.PostgresDSN(tb), "VOICEMILL_BUS_URL": bus.URL(),
		"VOICEMILL_BLOB_ENDPOINT": bucket.Endpoint, "VOICEMILL_BLOB_BUCKET": bucket.Bucket,
		"VOICEMILL_BLOB_ACCESS_KEY": bucket.AccessKey, "VOICEMILL_BLOB_SECRET_KEY": bucket.SecretKey.Reveal(),
	}
}
