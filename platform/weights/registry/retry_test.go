package registry

import (
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestARegistryThatStumblesIsAskedAgain(t *testing.T) {
	t.Parallel()
	var asked atomic.Int32
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if asked.Add(1) == 1 {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		_, _ = w.Write([]byte(`{"dist":{"tarball":"http://h/x.tgz"}}`))
	}))
	t.Cleanup(s.Close)
	place, err := Settings{NPM: s.URL}.Resolve(t.Context(), s.Client(), Source{Kind: NPM, Name: "@x/y", Version: "1", Member: "m"})
	require.NoError(t, err)
	require.Equal(t, "http://h/x.tgz", place.URL)
	require.EqualValues(t, 2, asked.Load())
}
