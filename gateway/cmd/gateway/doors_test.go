package main

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/gateway"
	"github.com/voicemill/voicemill/gateway/internal/takeover"
)

func TestReadyWritesTheProcessID(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "pid")
	none, err := takeover.Inherit(func(string) (string, bool) { return "", false })
	require.NoError(t, err)
	for range 2 {
		require.NoError(t, ready(none, file))
		b, err := os.ReadFile(file)
		require.NoError(t, err)
		require.Equal(t, strconv.Itoa(os.Getpid()), strings.TrimSpace(string(b)))
	}
	require.NoError(t, ready(none, ""))
	require.Error(t, ready(none, filepath.Join(t.TempDir(), "no", "folder")))
}

func TestAnAddressThatIsTakenIsSaidAndFreesTheOther(t *testing.T) {
	t.Parallel()
	none, err := takeover.Inherit(func(string) (string, bool) { return "", false })
	require.NoError(t, err)
	var cfg gateway.Settings
	cfg.Gateway.Listen, cfg.Admin = "127.0.0.1:0", "127.0.0.1:0"
	first, err := open(t.Context(), cfg, none)
	require.NoError(t, err)
	defer first.close()
	cfg.Admin = first.admin.Addr().String()
	_, err = open(t.Context(), cfg, none)
	require.ErrorContains(t, err, "admin port")
}
