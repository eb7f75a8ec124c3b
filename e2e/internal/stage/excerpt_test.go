package stage

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAFailureShowsWarningsAndLastLinesOnly(t *testing.T) {
	info := strings.Repeat(`{"level":"INFO","msg":"request"}`+"\n", 50)
	log := `{"level":"WARN","msg":"database cannot be reached"}` + "\n" + info + "panic: no\ngoroutine 1\nmain.go:1\n" + info + strings.Repeat("x", 1000)
	got := strings.Split(strings.TrimSpace(string(excerpt([]byte(log)))), "\n")
	require.Equal(t, []string{`{"level":"WARN","msg":"database cannot be reached"}`, "panic: no"}, got[:2])
	require.Len(t, got, 2+excerptLast)
	require.Len(t, got[len(got)-1], excerptLine)
	require.Empty(t, strings.TrimSpace(string(excerpt(nil))))
}
