package blob_test

import (
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/blob"
	"github.com/voicemill/voicemill/platform/testkit"
)

func TestABucketThatTakesNothingIsFoundOutAndFoundBack(t *testing.T) {
	t.Parallel()
	cfg := testkit.S3Config(t)
	var full atomic.Bool
	server := httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(&url.URL{Scheme: "http", Host: cfg.Endpoint})
		r.Out.Host = r.In.Host // it is signed
	}}
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if full.Load() && r.Method == http.MethodPut {
			w.WriteHeader(http.StatusInsufficientStorage)
			return
		}
		server.ServeHTTP(w, r)
	}))
	t.Cleanup(proxy.Close)
	through := cfg
	through.Endpoint = strings.TrimPrefix(proxy.URL, "http://")
	s, err := blob.Open(t.Context(), through)
	require.NoError(t, err)
	t.Cleanup(s.Close)

	full.Store(true)
	require.NoError(t, s.Ready(t.Context()), "it is there")
	require.Equal(t, job.Overloaded, job.KindOf(s.ReadyToWrite(t.Context())), "nothing has been written yet, so it is tried")
	full.Store(false)
	require.NoError(t, s.ReadyToWrite(t.Context()))
	full.Store(true)
	require.NoError(t, s.ReadyToWrite(t.Context()), "something was written a moment ago")
	_, err = s.Put(t.Context(), "key", strings.NewReader("x"), 1, blob.PutOptions{})
	require.Error(t, err)
	require.Error(t, s.ReadyToWrite(t.Context()), "a write has failed since")
}
