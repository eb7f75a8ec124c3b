package token

import (
	"crypto/sha256"
	"encoding/hex"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/voicemill/voicemill/gateway/internal/auth"
	"github.com/voicemill/voicemill/job"
)

// claims is the payload of a token whose signature is good.
type claims map[string]any

// identity checks the times and turns the claims into who calls. until is how
// long the answer holds.
func (c *Config) identity(subject string, got claims, now time.Time) (id *auth.Identity, until time.Time, err error) {
	expires, ok := got.time("exp")
	if !ok {
		return nil, time.Time{}, refuse("This access token has no end.")
	}
	if !now.Before(expires.Add(c.Leeway)) {
		return nil, time.Time{}, refuse("This access token has expired.")
	}
	for _, name := range []string{"nbf", "iat"} {
		if from, ok := got.time(name); ok && now.Add(c.Leeway).Before(from) {
			return nil, time.Time{}, refuse("This access token is not valid yet.")
		}
	}
	tenant := c.Tenant
	if s, ok := got.at(c.TenantClaim).(string); ok && c.TenantClaim != "" {
		tenant = job.Tenant(s)
	}
	if !tenantShape.MatchString(string(tenant)) {
		return nil, time.Time{}, refuse("This access token names no tenant.")
	}
	id = &auth.Identity{KeyID: keyID(subject), Tenant: tenant}
	for _, word := range words(got.at(c.ScopeClaim)) {
		if s, ok := c.Scopes[word]; ok && !slices.Contains(id.Scopes, s) {
			id.Scopes = append(id.Scopes, s)
		}
	}
	until = now.Add(c.Keep)
	if end := expires.Add(c.Leeway); end.Before(until) {
		until = end
	}
	return id, until, nil
}

var tenantShape = regexp.MustCompile(`^[a-z0-9_-]{1,64}$`)

// keyID is what stands in the place of the id of an API key, in logs and limits.
func keyID(subject string) string {
	const most = 64
	if subject == "" || len(subject) > most || strings.ContainsFunc(subject, func(r rune) bool { return r <= ' ' || r > '~' }) {
		sum := sha256.Sum256([]byte(subject))
		subject = hex.EncodeToString(sum[:8])
	}
	return "sub:" + subject
}

// at returns the claim of that name, or the one that a dotted path leads to.
func (c claims) at(path string) any {
	if v, ok := c[path]; ok {
		return v
	}
	var v any = map[string]any(c)
	for part := range strings.SplitSeq(path, ".") {
		m, ok := v.(map[string]any)
		if !ok {
			return nil
		}
		v = m[part]
	}
	return v
}

// time reads a NumericDate (RFC 7519). One that is out of all reason is none.
func (c claims) time(name string) (time.Time, bool) {
	const year10000 = 253402300800
	n, ok := c[name].(float64)
	if !ok || n < 0 || n > year10000 {
		return time.Time{}, false
	}
	return time.Unix(int64(n), 0), true
}

// words reads a list of strings or words in one string.
func words(v any) []string {
	switch v := v.(type) {
	case string:
		return strings.Fields(v)
	case []any:
		var list []string
		for _, one := range v {
			if s, ok := one.(string); ok {
				list = append(list, s)
			}
		}
		return list
	}
	return nil
}
