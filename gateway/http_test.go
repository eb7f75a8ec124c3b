package gateway_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/gateway"
)

func TestPagesOfAllowedOriginsMayCall(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *gateway.Config) { c.Origins = gateway.Words{"https://app.example"} })
	a := w.call("OPTIONS", "/v1/jobs", "", "Authorization", "", "Origin", "https://app.example",
		"Access-Control-Request-Method", "POST", "Access-Control-Request-Headers", "authorization,content-type")
	require.Equal(t, http.StatusNoContent, a.Status)
	require.Equal(t, "https://app.example", a.Header.Get("Access-Control-Allow-Origin"))
	require.Equal(t, "GET, HEAD, POST, OPTIONS", a.Header.Get("Access-Control-Allow-Methods"))
	require.Contains(t, a.Header.Get("Access-Control-Allow-Headers"), "Authorization")
	require.Equal(t, "600", a.Header.Get("Access-Control-Max-Age"))
	require.Equal(t, "Origin", a.Header.Get("Vary"))
	a = w.call("GET", "/v1/voices", "", "Origin", "https://app.example")
	require.Equal(t, "https://app.example", a.Header.Get("Access-Control-Allow-Origin"))
	require.Contains(t, a.Header.Get("Access-Control-Expose-Headers"), "RateLimit")
	a = w.call("GET", "/v1/voices", "", "Origin", "https://app.example", "Authorization", "")
	require.Equal(t, http.StatusUnauthorized, a.Status)
	require.Equal(t, "https://app.example", a.Header.Get("Access-Control-Allow-Origin"), "a page may read why it was refused")
	id := string(w.submitted(hello))
	for range 3 { // from the database first, then from memory
		a = w.call("GET", "/v1/jobs/"+id, "", "Origin", "https://app.example")
		require.Equal(t, "https://app.example", a.Header.Get("Access-Control-Allow-Origin"))
	}
	f := w.events("/v1/jobs/"+id+"/events", "Origin", "https://app.example")
	require.Equal(t, "https://app.example", f.resp.Header.Get("Access-Control-Allow-Origin"), "an EventSource of a page, too")
	for _, origin := range []string{"https://evil.example", "https://app.example.evil.example", "null", "http://app.example"} {
		a = w.call("GET", "/v1/voices", "", "Origin", origin)
		require.Empty(t, a.Header.Get("Access-Control-Allow-Origin"), origin)
		require.Equal(t, "Origin", a.Header.Get("Vary"))
	}
	closed := newWorld(t, nil)
	a = closed.call("OPTIONS", "/v1/jobs", "", "Origin", "https://app.example", "Access-Control-Request-Method", "POST")
	require.Equal(t, http.StatusNoContent, a.Status)
	require.Empty(t, a.Header.Get("Access-Control-Allow-Origin"))
	require.Empty(t, a.Header.Get("Vary"))
}

func TestHEADIsGETWithoutABody(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	id := string(w.call("POST", "/v1/jobs", hello).job(t).ID)
	for _, path := range []string{"/v1/voices", "/v1/jobs/" + id, "/v1/jobs", "/v1/keys", "/v1/jobs/job_x"} {
		get, head := w.call("GET", path, ""), w.call("HEAD", path, "")
		require.Equal(t, get.Status, head.Status, path)
		require.Empty(t, head.Body)
		require.NotEmpty(t, head.Header.Get("Content-Length"), path)
		require.Equal(t, get.Header.Get("ETag"), head.Header.Get("ETag"))
	}
	require.Equal(t, http.StatusMethodNotAllowed, w.call("HEAD", "/v1/uploads", "").Status)
}

func packed(t *testing.T, s string) string {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, err := z.Write([]byte(s))
	require.NoError(t, err)
	require.NoError(t, z.Close())
	return b.String()
}

func TestBodiesMayComePacked(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	send := func(body string, headers ...string) answer {
		req, err := http.NewRequestWithContext(t.Context(), "POST", w.url+"/v1/jobs", strings.NewReader(body))
		require.NoError(t, err)
		req.Header.Set("Authorization", "Bearer "+w.key)
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Content-Encoding", "gzip")
		for i := 0; i < len(headers); i += 2 {
			req.Header.Set(headers[i], headers[i+1])
		}
		resp, err := (&http.Client{Transport: w.checked(&http.Transport{DisableKeepAlives: true})}).Do(req)
		require.NoError(t, err)
		defer func() { _ = resp.Body.Close() }()
		var b bytes.Buffer
		_, err = b.ReadFrom(resp.Body)
		require.NoError(t, err)
		return answer{Status: resp.StatusCode, Header: resp.Header, Body: b.Bytes()}
	}
	long := `{"input":{"text":"` + strings.Repeat("All work and no play makes a dull book. ", 1000) + `"}}`
	a := send(packed(t, long))
	require.Equal(t, http.StatusAccepted, a.Status, "%s", a.Body)
	require.Equal(t, strings.Repeat("All work and no play makes a dull book. ", 1000), w.take(1)[0].Spec.Input.Text)

	first := send(packed(t, hello), "Idempotency-Key", "k")
	again := w.call("POST", "/v1/jobs", hello, "Idempotency-Key", "k")
	require.Equal(t, first.job(t).ID, again.job(t).ID, "the packing is not part of the request")

	require.Equal(t, http.StatusBadRequest, send(hello).Status)
	require.Equal(t, http.StatusRequestEntityTooLarge, send(packed(t, strings.Repeat(" ", 1<<21))).Status)
	a = send(hello, "Content-Encoding", "br")
	require.Equal(t, http.StatusUnsupportedMediaType, a.Status)
	require.Contains(t, a.problem(t).Detail, "gzip")
	require.Equal(t, http.StatusUnauthorized, send(packed(t, hello), "Authorization", "Bearer vm_0123456789abcdefghjkmnpqrs").Status)
}

func TestTheAccessLogNamesTheClientBehindTrustedProxies(t *testing.T) {
	t.Parallel()
	for _, trusted := range []bool{true, false} {
		w := newWorld(t, func(c *gateway.Config) {
			if trusted {
				c.Proxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
			}
		})
		w.call("GET", "/v1/voices", "", "X-Forwarded-For", "1.1.1.1, 203.0.113.9")
		require.Eventually(t, func() bool { return strings.Contains(w.log.String(), "client_ip") }, time.Minute, 10*time.Millisecond)
		var line map[string]any
		require.NoError(t, json.Unmarshal([]byte(strings.SplitN(w.log.String(), "\n", 2)[0]), &line))
		want := "127.0.0.1"
		if trusted {
			want = "203.0.113.9"
		}
		require.Equal(t, want, line["client_ip"])
		require.True(t, strings.HasPrefix(line["remote"].(string), "127.0.0.1:"))
	}
}
