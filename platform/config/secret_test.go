package config_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/platform/config"
)

func TestASecretIsNeverShown(t *testing.T) {
	t.Parallel()
	secret := config.NewSecret("hunter2")
	holder := struct{ S config.Secret }{secret}
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", slog.Any("secret", secret), slog.Any("holder", holder))
	encoded, err := json.Marshal(holder)
	require.NoError(t, err)
	for _, shown := range []string{
		fmt.Sprint(secret), fmt.Sprintf("%v %+v %#v %s %q %x", secret, secret, secret, secret, secret, secret),
		fmt.Sprintf("%v %+v %#v", holder, holder, holder), log.String(), string(encoded),
	} {
		require.NotContains(t, shown, "hunter2")
		require.Contains(t, shown, "REDACTED")
	}
	require.Equal(t, "hunter2", secret.Reveal())
	require.Empty(t, fmt.Sprint(config.Secret{}))
}
