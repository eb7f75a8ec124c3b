package blob_test

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/blob"
	"github.com/voicemill/voicemill/platform/testkit"
)

// behind returns a bucket of a server that stores what spoil makes of each body.
func behind(t *testing.T, spoil func([]byte) []byte) *blob.Store {
	t.Helper()
	cfg := testkit.S3Config(t)
	server := &url.URL{Scheme: "http", Host: cfg.Endpoint}
	proxy := httptest.NewServer(&httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(server)
		r.Out.Host = r.In.Host // which is signed
		if r.In.Method != http.MethodPut || !strings.HasSuffix(r.In.URL.Path, ".wav") {
			return
		}
		data, err := io.ReadAll(r.In.Body)
		if err != nil {
			t.Error(err)
		}
		data = spoil(data)
		r.Out.Body, r.Out.ContentLength = io.NopCloser(bytes.NewReader(data)), int64(len(data))
		r.Out.Header.Set("Content-Length", strconv.Itoa(len(data)))
	}})
	t.Cleanup(proxy.Close)
	cfg.Endpoint = strings.TrimPrefix(proxy.URL, "http://")
	s, err := blob.Open(t.Context(), cfg)
	require.NoError(t, err)
	t.Cleanup(s.Close)
	return s
}

func TestWhatTheStoreDoesNotKeepAsItWasSentIsNotStored(t *testing.T) {
	t.Parallel()
	for what, spoil := range map[string]func([]byte) []byte{
		"shorter": func(data []byte) []byte {
			if len(data) == 5<<20 { // a part that may not be smaller unless it is the last
				return data
			}
			return data[:len(data)-1]
		},
		"altered": func(data []byte) []byte { data[len(data)/2] ^= 1; return data },
		"as sent": func(data []byte) []byte { return data },
	} {
		for name, size := range map[string]int{"small": 1000, "one part": 1 << 20, "parts": 11 << 20} {
			t.Run(what+" "+name, func(t *testing.T) {
				t.Parallel()
				s := behind(t, spoil)
				data := bytes.Repeat([]byte("voicemill "), size/10)
				_, put := s.Put(t.Context(), "put.wav", bytes.NewReader(data), int64(len(data)), blob.PutOptions{IfAbsent: true})
				_, unknown := s.Put(t.Context(), "unknown.wav", bytes.NewReader(data), -1, blob.PutOptions{})
				_, once := s.PutOnce(t.Context(), "once.wav", bytes.NewReader(data), int64(len(data)), blob.PutOptions{})
				for _, err := range []error{put, unknown, once} {
					if what == "as sent" {
						require.NoError(t, err)
						continue
					}
					require.Error(t, err)
					require.Equal(t, job.Unavailable, job.KindOf(err), "%v", err)
				}
			})
		}
	}
}
