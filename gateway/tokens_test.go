package gateway_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/gateway"
	"github.com/voicemill/voicemill/gateway/internal/token/tokentest"
)

func TestAccessTokensOpenTheDoorTheirScopesFit(t *testing.T) {
	t.Parallel()
	issuer := tokentest.NewIssuer(t)
	w := newWorld(t, func(c *gateway.Config) {
		c.JWT.Issuer, c.JWT.Audience = issuer.URL, gateway.Words{"voicemill"}
		c.JWT.ScopeClaim, c.JWT.Scopes = "realm.roles", gateway.ScopeNames{"reader": "jobs:read", "writer": "jobs:write"}
	})
	sign := func(tenant string, roles ...string) string {
		return issuer.Sign(tokentest.Claims{
			"sub": "ada", "aud": "voicemill", "tenant": tenant, "exp": time.Now().Add(time.Hour).Unix(), "realm": map[string]any{"roles": roles},
		})
	}
	call := func(token, method, path, body string) answer {
		return w.call(method, path, body, "Authorization", "Bearer "+token)
	}
	writer := sign("default", "reader", "writer", "cook")
	a := call(writer, "POST", "/v1/jobs", hello)
	require.Equal(t, http.StatusAccepted, a.Status, "%s", a.Body)
	require.NotEmpty(t, a.Header.Get("RateLimit"))
	id := string(a.job(t).ID)
	require.Equal(t, http.StatusOK, call(sign("default", "reader"), "GET", "/v1/jobs/"+id, "").Status)
	require.Equal(t, http.StatusForbidden, call(sign("default", "reader"), "POST", "/v1/jobs", hello).Status)
	require.Equal(t, http.StatusNotFound, call(sign("other", "reader"), "GET", "/v1/jobs/"+id, "").Status)
	require.Equal(t, http.StatusForbidden, call(writer, "GET", "/v1/keys", "").Status)

	a = call(sign("nobody", "writer"), "POST", "/v1/jobs", hello)
	require.Equal(t, http.StatusForbidden, a.Status)
	require.Contains(t, a.problem(t).Detail, "nobody")
	for _, bad := range []string{writer[:len(writer)-4] + "AAAA", "a.b.c", writer + ".x"} {
		for range 2 { // the second time from memory
			require.Equal(t, http.StatusUnauthorized, call(bad, "GET", "/v1/jobs", "").Status)
		}
	}

	issuer.Close()
	require.Equal(t, http.StatusOK, call(writer, "GET", "/v1/jobs/"+id, "").Status, "an answer that is kept needs no issuer")
	issuer.Rotate()
	a = call(sign("default", "reader"), "GET", "/v1/jobs/"+id, "")
	require.Equal(t, http.StatusServiceUnavailable, a.Status, "%s", a.Body)
	require.NotEmpty(t, a.Header.Get("Retry-After"))
	require.Equal(t, http.StatusOK, w.call("GET", "/v1/jobs/"+id, "").Status, "keys do not need the issuer")
}

func TestAccessTokensOpenConnectionsOfEveryKind(t *testing.T) {
	t.Parallel()
	issuer := tokentest.NewIssuer(t)
	w := newWorld(t, func(c *gateway.Config) { c.JWT.Issuer, c.JWT.Audience = issuer.URL, gateway.Words{"voicemill"} })
	token := issuer.Sign(tokentest.Claims{
		"sub": "ada", "aud": "voicemill", "tenant": "default", "exp": time.Now().Add(time.Hour).Unix(), "scope": "jobs:read jobs:write",
		"filler": strings.Repeat("x", 5<<10), // issuers put much into a token
	})
	id := w.submitted(hello)
	for _, how := range []*websocket.DialOptions{
		{HTTPHeader: http.Header{"Authorization": {"Bearer " + token}}},
		{HTTPHeader: http.Header{"Origin": {"https://app.example"}}}, // a browser sets no field: the token is in the query
	} {
		path := "/v1/connect"
		if how.HTTPHeader.Get("Authorization") == "" {
			path += "?access_token=" + token
		}
		how.Subprotocols = []string{"voicemill.v1.json"}
		s := w.ws(path, how)
		s.hear()
		s.tell(`{"stream":1,"get":{"id":"` + string(id) + `"}}`)
		got := s.hear()
		require.NotNil(t, got.Job, "%+v", got.Problem)
		require.Equal(t, id, got.Job.ID)
	}
	c := w.frames(token)
	got, err := c.Job(t.Context(), id)
	require.NoError(t, err)
	require.Equal(t, id, got.ID)
}
