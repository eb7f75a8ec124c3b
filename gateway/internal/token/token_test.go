package token_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/gateway/internal/auth"
	"github.com/voicemill/voicemill/gateway/internal/token"
	"github.com/voicemill/voicemill/gateway/internal/token/tokentest"
	"github.com/voicemill/voicemill/job"
)

func open(t *testing.T, issuer *tokentest.Issuer, change func(*token.Config)) *token.Verifier {
	t.Helper()
	cfg := token.DefaultConfig()
	cfg.Issuer, cfg.Audiences = issuer.URL, []string{"voicemill", "https://voicemill.example"}
	if change != nil {
		change(&cfg)
	}
	tr := &http.Transport{}
	t.Cleanup(tr.CloseIdleConnections)
	v, err := token.New(cfg, tr)
	require.NoError(t, err)
	return v
}

func good() tokentest.Claims {
	return tokentest.Claims{
		"sub": "ada", "aud": []string{"x", "voicemill"}, "tenant": "acme", "scope": "openid jobs:read jobs:write jobs:read",
		"exp": time.Now().Add(time.Hour).Unix(),
	}
}

func TestAGoodTokenSaysWhoCalls(t *testing.T) {
	t.Parallel()
	issuer := tokentest.NewIssuer(t)
	v := open(t, issuer, nil)
	id, until, err := v.Verify(t.Context(), issuer.Sign(good()))
	require.NoError(t, err)
	require.Equal(t, &auth.Identity{KeyID: "sub:ada", Tenant: "acme", Scopes: []auth.Scope{auth.JobsRead, auth.JobsWrite}}, id)
	require.WithinDuration(t, time.Now().Add(5*time.Minute), until, time.Minute, "no longer than Keep")

	c := good()
	c["exp"] = time.Now().Add(20 * time.Second).Unix()
	_, until, err = v.Verify(t.Context(), issuer.Sign(c))
	require.NoError(t, err)
	require.WithinDuration(t, time.Now().Add(50*time.Second), until, 10*time.Second, "no longer than exp and the leeway")
}

func TestABadTokenIsRefused(t *testing.T) {
	t.Parallel()
	issuer, stranger := tokentest.NewIssuer(t), tokentest.NewIssuer(t)
	v := open(t, issuer, nil)
	at := func(d time.Duration) int64 { return time.Now().Add(d).Unix() }
	for name, change := range map[string]func(tokentest.Claims){
		"expired":              func(c tokentest.Claims) { c["exp"] = at(-time.Minute) },
		"without an end":       func(c tokentest.Claims) { delete(c, "exp") },
		"not valid yet":        func(c tokentest.Claims) { c["nbf"] = at(time.Minute) },
		"issued tomorrow":      func(c tokentest.Claims) { c["iat"] = at(24 * time.Hour) },
		"for another service":  func(c tokentest.Claims) { c["aud"] = "x" },
		"for nobody":           func(c tokentest.Claims) { delete(c, "aud") },
		"of another issuer":    func(c tokentest.Claims) { c["iss"] = stranger.URL },
		"without a tenant":     func(c tokentest.Claims) { delete(c, "tenant") },
		"with a strange one":   func(c tokentest.Claims) { c["tenant"] = "A/../b" },
		"with a tenant number": func(c tokentest.Claims) { c["tenant"] = 7 },
	} {
		c := good()
		change(c)
		_, _, err := v.Verify(t.Context(), issuer.Sign(c))
		require.Equal(t, job.Unauthorized, job.KindOf(err), "%s: %v", name, err)
	}
	forged := good()
	forged["iss"] = issuer.URL
	sound := issuer.Sign(good())
	head, rest, _ := strings.Cut(sound, ".")
	body, signature, _ := strings.Cut(rest, ".")
	for name, raw := range map[string]string{
		"signed by another":                   stranger.Sign(forged),
		"of an algorithm that is not allowed": issuer.SignAs(map[string]any{"alg": "ES384", "kid": "1"}, good()),
		"without an algorithm":                issuer.SignAs(map[string]any{"alg": "none"}, good()),
		"with a shared secret":                issuer.SignAs(map[string]any{"alg": "HS256", "kid": "1"}, good()),
		"without a signature":                 head + "." + body + ".",
		"with another body":                   head + "." + body[:len(body)-4] + "AAAA." + signature,
		"not a token":                         "a.b.c",
	} {
		_, _, err := v.Verify(t.Context(), raw)
		require.Equal(t, job.Unauthorized, job.KindOf(err), "%s: %v", name, err)
	}
	for name, change := range map[string]func(tokentest.Claims){
		"just expired":        func(c tokentest.Claims) { c["exp"] = at(-20 * time.Second) },
		"just not valid":      func(c tokentest.Claims) { c["nbf"] = at(20 * time.Second) },
		"without scopes":      func(c tokentest.Claims) { delete(c, "scope") },
		"with an odd subject": func(c tokentest.Claims) { c["sub"] = "a\nb" },
		"with a long subject": func(c tokentest.Claims) { c["sub"] = strings.Repeat("x", 1000) },
		"with one audience":   func(c tokentest.Claims) { c["aud"] = "https://voicemill.example" },
	} {
		c := good()
		change(c)
		id, _, err := v.Verify(t.Context(), issuer.Sign(c))
		require.NoError(t, err, name)
		require.Less(t, len(id.KeyID), 80)
		require.NotContains(t, id.KeyID, "\n")
	}
}

func TestRotatedKeysWorkAtOnceAndOldOnesDoNot(t *testing.T) {
	t.Parallel()
	issuer := tokentest.NewIssuer(t)
	v := open(t, issuer, nil)
	old := issuer.Sign(good())
	_, _, err := v.Verify(t.Context(), old)
	require.NoError(t, err)
	for range 2 {
		issuer.Rotate()
		_, _, err = v.Verify(t.Context(), issuer.Sign(good()))
		require.NoError(t, err)
	}
	_, _, err = v.Verify(t.Context(), old)
	require.Equal(t, job.Unauthorized, job.KindOf(err), "%v", err)
}

func TestAFloodOfUnknownKeysIsNoFloodForTheIssuer(t *testing.T) {
	t.Parallel()
	issuer := tokentest.NewIssuer(t)
	v := open(t, issuer, nil)
	sound := issuer.Sign(good())
	_, _, err := v.Verify(t.Context(), sound)
	require.NoError(t, err)
	before := time.Now()
	for range 500 {
		_, _, err := v.Verify(t.Context(), issuer.SignAs(map[string]any{"alg": "ES256", "kid": "nobody"}, good()))
		if job.KindOf(err) != job.Unavailable { // those that cannot be told from good ones now
			require.Equal(t, job.Unauthorized, job.KindOf(err), "%v", err)
		}
	}
	require.LessOrEqual(t, issuer.Fetches(), 6+int(time.Since(before)/time.Second))
	_, _, err = v.Verify(t.Context(), sound)
	require.NoError(t, err)
	issuer.Rotate()
	_, _, err = v.Verify(t.Context(), issuer.Sign(good()))
	require.Equal(t, job.Unavailable, job.KindOf(err), "nobody knows yet that it is good: %v", err)
}

func TestAnIssuerThatIsAwayIsNotABadToken(t *testing.T) {
	t.Parallel()
	issuer := tokentest.NewIssuer(t)
	v := open(t, issuer, nil)
	raw := issuer.Sign(good())
	issuer.Break(true)
	_, _, err := v.Verify(t.Context(), raw)
	require.Equal(t, job.Unavailable, job.KindOf(err), "%v", err)
	issuer.Break(false)
	_, _, err = v.Verify(t.Context(), raw)
	require.NoError(t, err)
	issuer.Break(true)
	_, _, err = v.Verify(t.Context(), raw)
	require.NoError(t, err, "its key is known")
	issuer.Rotate()
	_, _, err = v.Verify(t.Context(), issuer.Sign(good()))
	require.Equal(t, job.Unavailable, job.KindOf(err), "%v", err)
}

func TestClaimsAreFoundWhereTheConfigurationSays(t *testing.T) {
	t.Parallel()
	issuer := tokentest.NewIssuer(t)
	v := open(t, issuer, func(c *token.Config) {
		c.TenantClaim, c.Tenant = "https://voicemill.example/tenant", "default"
		c.ScopeClaim, c.Scopes = "resource.voicemill.roles", map[string]auth.Scope{"boss": auth.Admin}
	})
	c := good()
	c["https://voicemill.example/tenant"] = "named"
	c["resource"] = map[string]any{"voicemill": map[string]any{"roles": []any{"boss", 7, "jobs:read"}}}
	id, _, err := v.Verify(t.Context(), issuer.Sign(c))
	require.NoError(t, err)
	require.Equal(t, &auth.Identity{KeyID: "sub:ada", Tenant: "named", Scopes: []auth.Scope{auth.Admin}}, id)
	id, _, err = v.Verify(t.Context(), issuer.Sign(good()))
	require.NoError(t, err)
	require.Equal(t, &auth.Identity{KeyID: "sub:ada", Tenant: "default"}, id)
}

func TestSettingsThatLetTooMuchInAreRefused(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*token.Config){
		"no issuer":          func(c *token.Config) { c.Issuer = "" },
		"plain http":         func(c *token.Config) { c.Issuer = "http://issuer.example" },
		"no audience":        func(c *token.Config) { c.Audiences = nil },
		"a shared secret":    func(c *token.Config) { c.Algorithms = []string{"HS256"} },
		"no signature":       func(c *token.Config) { c.Algorithms = []string{"none"} },
		"no algorithm":       func(c *token.Config) { c.Algorithms = nil },
		"a scope that is no": func(c *token.Config) { c.Scopes = map[string]auth.Scope{"x": "root"} },
		"an hour of leeway":  func(c *token.Config) { c.Leeway = time.Hour },
		"nobody's tenant":    func(c *token.Config) { c.TenantClaim = "" },
	} {
		cfg := token.DefaultConfig()
		cfg.Issuer, cfg.Audiences = "https://issuer.example", []string{"x"}
		require.NoError(t, cfg.Validate())
		change(&cfg)
		_, err := token.New(cfg, nil)
		require.Error(t, err, name)
	}
}
