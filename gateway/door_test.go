package gateway_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/api/apitest"
	"github.com/voicemill/voicemill/api/client"
	"github.com/voicemill/voicemill/gateway"
	"github.com/voicemill/voicemill/gateway/internal/web"
	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/pg"
)

func TestTheContractAndTheRoutesAreTheSame(t *testing.T) {
	t.Parallel()
	c, err := apitest.Load(t.Context())
	require.NoError(t, err)
	contract := c.Operations()
	slices.Sort(contract)
	routes := web.Routes()
	slices.Sort(routes)
	require.Equal(t, contract, routes)
}

func TestWithoutAWorkingKeyNobodyGetsIn(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	for name, field := range map[string]string{
		"none": "", "no scheme": w.key, "another scheme": "Basic dXNlcjpwYXNz", "wrong": "Bearer vm_0123456789abcdefghjkmnpqrs",
		"cut": "Bearer " + w.key[:20], "with more": "Bearer " + w.key + "x",
	} {
		for _, path := range []string{"/v1/jobs", "/v1/keys", "/v1/jobs/" + string(w.mintedFor(tenant))} {
			a := w.call("GET", path, "", "Authorization", field)
			require.Equal(t, http.StatusUnauthorized, a.Status, name)
			require.True(t, strings.HasPrefix(a.Header.Get("WWW-Authenticate"), "Bearer"))
			require.Equal(t, "/problems/unauthorized", a.problem(t).Type)
		}
	}
}

func TestScopesAreHeld(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	id := w.call("POST", "/v1/jobs", hello).job(t).ID
	needs := map[string]string{
		"POST /v1/jobs": "jobs:write", "GET /v1/jobs": "jobs:read", "GET /v1/jobs/" + string(id): "jobs:read",
		"GET /v1/jobs/" + string(id) + "/segments": "jobs:read", "POST /v1/jobs/" + string(id) + "/cancel": "jobs:write",
		"POST /v1/uploads": "jobs:write", "GET /v1/keys": "admin", "POST /v1/keys": "admin", "DELETE /v1/keys/key_x": "admin",
		"GET /v1/callbacks/secret": "admin",
	}
	for _, scope := range []string{"jobs:read", "jobs:write", "admin"} {
		key := w.newKey(tenant, scope)
		for call, needed := range needs {
			method, path, _ := strings.Cut(call, " ")
			body := ""
			if method == "POST" && !strings.HasSuffix(path, "/cancel") {
				body = `{}`
			}
			a := w.call(method, path, body, "Authorization", "Bearer "+key)
			if needed == scope {
				require.NotEqual(t, http.StatusForbidden, a.Status, "%s with %s", call, scope)
			} else {
				require.Equal(t, http.StatusForbidden, a.Status, "%s with %s", call, scope)
				require.Contains(t, a.problem(t).Detail, needed)
			}
		}
		want := http.StatusOK
		if scope == "admin" {
			want = http.StatusForbidden
		}
		require.Equal(t, want, w.call("GET", "/v1/voices", "", "Authorization", "Bearer "+key).Status)
	}
}

func TestTheLastKeyThatMayAdministerStays(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	first := w.client(w.key)
	page, err := first.Keys(t.Context(), 0, "")
	require.NoError(t, err)
	require.Len(t, page.Items, 1)
	own := page.Items[0].ID
	_, err = first.CreateKey(t.Context(), "reader", []string{"jobs:read"})
	require.NoError(t, err)
	err = first.RevokeKey(t.Context(), own)
	require.Equal(t, job.Conflict, kindOf(t, err))
	require.ErrorContains(t, err, "Create one with the scope admin first")
	require.Equal(t, http.StatusOK, w.call("GET", "/v1/keys", "").Status, "it still works")

	k, err := first.CreateKey(t.Context(), "second", []string{"admin"})
	require.NoError(t, err)
	second := w.client(k.Secret)
	var ends [2]error // both at once: one of them has to stay
	var wg sync.WaitGroup
	wg.Go(func() { ends[0] = first.RevokeKey(t.Context(), k.ID) })
	wg.Go(func() { ends[1] = second.RevokeKey(t.Context(), own) })
	wg.Wait()
	var left int
	require.NoError(t, w.db.QueryRow(t.Context(), "select count(*) from api_keys where tenant_id = $1 and revoked_at is null and 'admin' = any (scopes)", tenant).Scan(&left))
	require.Equal(t, 1, left, "%v", ends)
}

func TestKeysAreMadeListedAndRevoked(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	c := w.client(w.key)
	k, err := c.CreateKey(t.Context(), "laptop", []string{"jobs:read"})
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, w.call("GET", "/v1/jobs", "", "Authorization", "Bearer "+k.Secret).Status)
	page, err := c.Keys(t.Context(), 1, "")
	require.NoError(t, err)
	require.Equal(t, k.ID, page.Items[0].ID)
	require.Empty(t, page.Items[0].Secret)
	rest, err := c.Keys(t.Context(), 0, page.Next)
	require.NoError(t, err)
	require.Len(t, rest.Items, 1)

	require.NoError(t, c.RevokeKey(t.Context(), k.ID))
	require.NoError(t, c.RevokeKey(t.Context(), k.ID))
	require.Equal(t, http.StatusUnauthorized, w.call("GET", "/v1/jobs", "", "Authorization", "Bearer "+k.Secret).Status, "at once, in this process")
	require.Equal(t, http.StatusNotFound, w.call("DELETE", "/v1/keys/"+k.ID, "", "Authorization", "Bearer "+w.other).Status)
	var problem *client.Problem
	require.ErrorAs(t, c.RevokeKey(t.Context(), "key_nothing"), &problem)
	require.Equal(t, job.NotFound, problem.Kind())

	for body, want := range map[string]int{
		`{"scopes":["jobs:read"]}`: 201, `{"scopes":[]}`: 422, `{"scopes":["root"]}`: 422, `{"scopes":["admin","admin"]}`: 422, `{}`: 422,
		`{"scopes":["admin"],"name":"` + strings.Repeat("x", 201) + `"}`: 422, `{"scopes":"admin"}`: 422,
	} {
		require.Equal(t, want, w.call("POST", "/v1/keys", body).Status, body)
	}
	require.Equal(t, http.StatusCreated, w.call("POST", "/v1/keys", `{"scopes":["admin"]}`, "Idempotency-Key", "k").Status)
	require.Equal(t, http.StatusConflict, w.call("POST", "/v1/keys", `{"scopes":["admin"]}`, "Idempotency-Key", "k").Status, "a secret is shown once")

	secret, err := c.CallbackSecret(t.Context())
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(secret, "whsec_"))
	keys, err := c.SigningKeys(t.Context())
	require.NoError(t, err)
	signer, err := pg.SigningKey(t.Context(), w.db)
	require.NoError(t, err)
	require.Equal(t, []string{job.PublicKey(signer)}, keys)
	voices, err := c.Voices(t.Context())
	require.NoError(t, err)
	require.Equal(t, client.Voice{Name: "anna-de", Language: "de", Engine: "espeak-ng", SampleRate: 22050, Default: true, Available: true}, voices[0])
	require.Equal(t, http.StatusOK, w.call("GET", "/v1/voices", "").Status)
	require.Equal(t, http.StatusOK, w.call("GET", "/v1/callbacks/secret", "").Status)
}

func TestPathsAndMethodsThatAreNotThere(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	id := string(w.mintedFor(tenant))
	for call, want := range map[string]int{
		"GET /":                            404,
		"GET /v1":                          404,
		"GET /v1/jobs/":                    404,
		"GET /v1//jobs":                    404,
		"GET /v1/jobs/" + id + "/":         404,
		"GET /v1/jobs/" + id + "/x":        404,
		"POST /v1/jobs/%05/cancel":         400,
		"GET /healthz":                     404,
		"GET /metrics":                     404,
		"PUT /v1/jobs":                     405,
		"DELETE /v1/jobs/" + id:            405,
		"PATCH /v1/jobs/" + id + "/cancel": 405,
		"GET /v1/jobs/" + id + "/cancel":   405,
		"OPTIONS /v1/jobs":                 204,
		"HEAD /v1/jobs/" + id:              200,
		"HEAD /v1/uploads":                 405,
		"TRACE /v1/jobs":                   405,
		"BREW /v1/jobs":                    501,
		"BREW /v1/coffee":                  501,
		"get /v1/jobs":                     501,
	} {
		method, path, _ := strings.Cut(call, " ")
		a := w.call(method, path, "")
		require.Equal(t, want, a.Status, call)
		switch {
		case method == "HEAD":
			require.Empty(t, a.Body, call)
		case want >= 400:
			a.problem(t)
		}
		if want == 405 || want == 204 {
			require.NotEmpty(t, a.Header.Get("Allow"), call)
		}
	}
	require.Equal(t, "GET, HEAD, OPTIONS, POST", allow(w.call("PUT", "/v1/jobs", "")))
	require.NotEmpty(t, w.call("HEAD", "/v1/jobs/"+id, "").Header.Get("ETag"))
	a := w.wire("OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n")
	require.Equal(t, http.StatusNoContent, a.Status, "the server as a whole")
	require.Equal(t, "DELETE, GET, HEAD, OPTIONS, POST, PUT", allow(a))
}

func TestAPathIsDecodedOnceAfterItWasSplit(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	id := string(w.submitted(hello))
	encoded := fmt.Sprintf("%%%02x%s", id[0], id[1:])
	for path, want := range map[string]int{
		"/v1/%6Aobs":                     200,
		"/%76%31/%6a%6f%62%73":           200,
		"/v1/%6Aobs/" + id:               200,
		"/v1/jobs/" + encoded:            200,
		"/v1/jobs/" + id + "/%73egments": 200,
		"/v1%2Fjobs":                     404,
		"/v1/jobs%2F" + id:               404,
		"/v1/jobs/" + id + "%2Fsegments": 404,
		"/v1/%256Aobs":                   404,
		"/v1/jobs/%25" + encoded[1:]:     404,
		"/v1/jobs%00":                    400,
	} {
		a := w.wire(fmt.Sprintf("GET %s HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer %s\r\n\r\n", path, w.key))
		require.Equal(t, want, a.Status, path)
	}
	a := w.wire(fmt.Sprintf("POST /v1/jobs%%3Abatch HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer %s\r\nContent-Type: application/x-ndjson\r\nContent-Length: %d\r\n\r\n%s\n", w.key, len(hello)+1, hello))
	require.Equal(t, http.StatusOK, a.Status)
	require.Contains(t, string(a.Body), `"status":202`)
}

// wire sends the bytes of one request and reads its answer.
func (w *world) wire(request string) answer {
	w.t.Helper()
	conn, err := new(net.Dialer).DialContext(w.t.Context(), "tcp", w.address())
	require.NoError(w.t, err)
	defer func() { _ = conn.Close() }()
	require.NoError(w.t, conn.SetDeadline(time.Now().Add(time.Minute)))
	go func() { _, _ = io.WriteString(conn, request) }() // ends with the connection
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	require.NoError(w.t, err)
	body, err := io.ReadAll(resp.Body)
	require.NoError(w.t, err)
	require.NoError(w.t, resp.Body.Close())
	return answer{Status: resp.StatusCode, Header: resp.Header, Body: body}
}

func allow(a answer) string {
	list := strings.Split(a.Header.Get("Allow"), ", ")
	slices.Sort(list)
	return strings.Join(list, ", ")
}

func TestEveryRequestHasAnIDAndALogLine(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	first, second := w.call("GET", "/v1/jobs", ""), w.call("GET", "/v1/jobs", "", "X-Request-Id", "has spaces")
	require.NotEmpty(t, first.Header.Get("X-Request-Id"))
	require.NotEqual(t, first.Header.Get("X-Request-Id"), second.Header.Get("X-Request-Id"))
	require.True(t, strings.HasPrefix(second.Header.Get("X-Request-Id"), "req_"))
	w.call("POST", "/v1/jobs", `{"input":{}}`, "X-Request-Id", "mine", "User-Agent", "test/1", "traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
	require.NoError(t, w.stop())

	lines := w.logged()
	require.Len(t, lines, 3)
	require.NotContains(t, w.log.String(), w.key, "a key is never logged")
	line := lines["mine"]
	require.Equal(t, "POST", line["method"])
	require.Equal(t, "/v1/jobs", line["route"])
	require.InDelta(t, 422, line["status"], 0)
	require.Equal(t, "default", line["tenant"])
	require.Equal(t, "test/1", line["user_agent"])
	require.Equal(t, "4bf92f3577b34da6a3ce929d0e0e4736", line["trace_id"])
	require.InDelta(t, len(`{"input":{}}`), line["bytes_in"], 0)
	require.Positive(t, line["bytes_out"])
	require.Positive(t, line["duration"])
}

func TestMetricsCountByRouteAndStatus(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	w.call("POST", "/v1/jobs", hello)
	w.call("POST", "/v1/jobs", `x`)
	w.call("GET", "/v1/jobs/job_x", "")
	w.call("GET", "/some/path/nobody/has", "")
	require.Eventually(t, func() bool { return w.counts("voicemill_gateway_requests_in_flight 0") }, time.Minute, 10*time.Millisecond)
	m := w.metrics()
	for _, want := range []string{
		`voicemill_gateway_requests_total{protocol="http1",route="POST /v1/jobs",status="2xx"} 1`,
		`voicemill_gateway_requests_total{protocol="http1",route="POST /v1/jobs",status="4xx"} 1`,
		`voicemill_gateway_requests_total{protocol="http1",route="GET /v1/jobs/{id}",status="4xx"} 1`,
		`voicemill_gateway_requests_total{protocol="http1",route="none",status="4xx"} 1`,
		`voicemill_gateway_request_duration_seconds_count{protocol="http1",route="POST /v1/jobs"} 2`,
		`voicemill_gateway_envelope_jobs_count 1`,
	} {
		require.Contains(t, m, want)
	}
	require.NotContains(t, m, "nobody")
}

func TestEveryMetricIsDocumented(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	w.call("GET", "/v1/voices", "")
	doc, err := os.ReadFile("../docs/gateway.md")
	require.NoError(t, err)
	_, doc, found := bytes.Cut(doc, []byte("## Metrics\n"))
	require.True(t, found)
	doc, _, _ = bytes.Cut(doc, []byte("\n## "))
	documented := map[string]bool{}
	for _, m := range regexp.MustCompile("`([a-z_]+)(\\{[a-z,]+\\})?`").FindAllSubmatch(doc, -1) {
		documented[string(m[1])] = true
	}
	const prefix = "voicemill_gateway_"
	served := map[string]bool{}
	for line := range strings.Lines(w.metrics()) {
		if name, ok := strings.CutPrefix(line, "# TYPE "+prefix); ok {
			name, _, _ = strings.Cut(name, " ")
			served[name] = true
			require.True(t, documented[name], "docs/gateway.md does not list %s", name)
		}
	}
	for name := range documented {
		if !slices.Contains([]string{"protocol", "route", "none", "websocket", "frames", "histogram_quantile"}, name) {
			require.True(t, served[name], "docs/gateway.md lists %s, which is not served", name)
		}
	}
}

func TestRequestsThatCannotBeReadGetAProblemToo(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	for raw, want := range map[string]int{
		"GET / HTTP/1.1\r\n\r\n": 400,
		"POST /v1/jobs HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n":                         413,
		"GET /v1/jobs HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("y", 1<<17) + "\r\n\r\n":             431,
		"POST /v1/jobs HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0": 400,
	} {
		a := w.wire(raw)
		require.Equal(t, want, a.Status, "%.60q: %s", raw, a.Body)
		require.True(t, strings.HasPrefix(a.problem(t).Type, "/problems/"))
	}
}

func TestTheStaticBinaryIsSmallAndLinksNoServers(t *testing.T) {
	t.Parallel()
	out := filepath.Join(t.TempDir(), "gateway")
	build := goTool(t, "build", "-ldflags=-s -w", "-o", out, "./cmd/gateway")
	require.Empty(t, build)
	info, err := os.Stat(out)
	require.NoError(t, err)
	require.Less(t, info.Size(), int64(20_000_000))
	deps := strings.Fields(goTool(t, "list", "-deps", "./cmd/gateway"))
	for _, banned := range []string{"nats-server", "versitygw", "kin-openapi", "testify"} {
		require.False(t, slices.ContainsFunc(deps, func(d string) bool { return strings.Contains(d, banned) }), banned)
	}
}

func TestWrongKeysAreNotAskedForWithoutEnd(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	require.Equal(t, http.StatusOK, w.call("GET", "/v1/jobs", "").Status)
	const tries = 600
	var flood strings.Builder
	for n := range tries {
		fmt.Fprintf(&flood, "GET /v1/jobs HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer vm_%026d\r\n\r\n", n)
	}
	r := w.say(flood.String())
	var refused, turnedAway int
	for range tries {
		resp, err := http.ReadResponse(r, nil)
		require.NoError(t, err)
		_, err = io.Copy(io.Discard, resp.Body)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		switch resp.StatusCode {
		case http.StatusUnauthorized:
			refused++
		case http.StatusServiceUnavailable:
			turnedAway++
			require.NotEmpty(t, resp.Header.Get("Retry-After"))
		default:
			t.Fatalf("a wrong key is answered %d", resp.StatusCode)
		}
	}
	require.GreaterOrEqual(t, refused, 200)
	require.Positive(t, turnedAway)
	require.Contains(t, w.metrics(), `voicemill_gateway_sheds_total{reason="unknown-keys"}`)
	require.Equal(t, http.StatusOK, w.call("GET", "/v1/jobs", "").Status, "a good key that is remembered")
	require.Equal(t, http.StatusOK, w.call("GET", "/v1/jobs", "", "Authorization", "Bearer "+w.newKey(tenant, gateway.Scopes()...)).Status, "a good key that is not")
}

func TestEveryTypeOfProblemHasAPage(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	p := w.call("GET", "/v1/jobs/job_x", "").problem(t)
	require.Equal(t, "Not found", p.Title)
	require.Equal(t, "There is no such job.", p.Detail)
	a := w.call("GET", p.Type, "", "Authorization", "")
	require.Equal(t, http.StatusOK, a.Status)
	require.Contains(t, string(a.Body), "<h1>Not found</h1>")
	require.Equal(t, http.StatusNotFound, w.call("GET", "/problems/none", "", "Authorization", "").Status)
	source, err := os.ReadFile("internal/problem/slug.go")
	require.NoError(t, err)
	slugs := regexp.MustCompile(`Slug = "([a-z-]+)"`).FindAllStringSubmatch(string(source), -1)
	require.Greater(t, len(slugs), 30)
	for _, s := range slugs {
		require.Equal(t, http.StatusOK, w.call("HEAD", "/problems/"+s[1], "", "Authorization", "").Status, s[1])
	}
}
