package api_test

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/api"
)

func TestTheDescriptionIsEmbedded(t *testing.T) {
	t.Parallel()
	require.True(t, bytes.HasPrefix(api.OpenAPI(), []byte("openapi: 3.1.0\n")))
}
