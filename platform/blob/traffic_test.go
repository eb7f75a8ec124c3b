package blob_test

import (
	"bytes"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/platform/blob"
	"github.com/voicemill/voicemill/platform/telemetry"
	"github.com/voicemill/voicemill/platform/testkit"
)

func TestRequestsAndBytesAreCounted(t *testing.T) {
	t.Parallel()
	s := testkit.S3(t)
	reg := telemetry.NewRegistry()
	s.Observe(reg)
	metrics := func() string {
		var out bytes.Buffer
		require.NoError(t, reg.Write(&out))
		return out.String()
	}
	require.Contains(t, metrics(), `voicemill_bucket_requests_total{method="get"} 0`)
	_, err := s.Put(t.Context(), "a/counted", strings.NewReader("twelve bytes"), 12, blob.PutOptions{})
	require.NoError(t, err)
	body, _, err := s.Get(t.Context(), "a/counted", blob.GetOptions{Offset: 7})
	require.NoError(t, err)
	_, err = io.Copy(io.Discard, body)
	require.NoError(t, err)
	require.NoError(t, body.Close())
	got := metrics()
	for _, want := range []string{`requests_total{method="get"} 1`, `bytes_total{direction="received"} 5`, `bytes_total{direction="sent"} 12`} {
		require.Contains(t, got, "voicemill_bucket_"+want)
	}
}
