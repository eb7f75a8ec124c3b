package token

import (
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/voicemill/voicemill/gateway/internal/auth"
	"github.com/voicemill/voicemill/job"
)

// Config says which tokens are believed and what they allow. Start from
// [DefaultConfig]; Issuer and Audiences have no default.
type Config struct {
	Issuer      string                // as in the claim iss
	Audiences   []string              // one of them must be in aud
	Algorithms  []string              // of the signature; only asymmetric ones
	TenantClaim string                // name or dotted path of the claim that names the tenant
	Tenant      job.Tenant            // of tokens without that claim; empty refuses them
	ScopeClaim  string                // name or dotted path of the claim with the scopes, a list or words
	Scopes      map[string]auth.Scope // what each value of that claim allows; others are ignored
	Leeway      time.Duration         // by which the clocks of issuer and gateway may differ
	Keep        time.Duration         // how long an answer may be kept at most
}

// DefaultConfig takes tenant and scope from the claims of these names.
func DefaultConfig() Config {
	scopes := make(map[string]auth.Scope)
	for _, s := range auth.Scopes() {
		scopes[string(s)] = s
	}
	return Config{
		Algorithms: []string{"RS256", "ES256", "EdDSA"}, TenantClaim: "tenant", ScopeClaim: "scope", Scopes: scopes,
		Leeway: 30 * time.Second, Keep: 5 * time.Minute,
	}
}

// algorithms lists what may be allowed. A shared secret is nothing to give to a gateway.
func algorithms() []string {
	return []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}
}

// Validate reports the first setting that makes no sense.
func (c Config) Validate() error {
	issuer, err := url.Parse(c.Issuer)
	switch {
	case err != nil || issuer.Host == "":
		return fmt.Errorf("token: issuer %q is not a URL", c.Issuer)
	case issuer.Scheme != "https" && (issuer.Scheme != "http" || !loopback(issuer.Hostname())):
		return fmt.Errorf("token: issuer %q must be reached over https", c.Issuer)
	case len(c.Audiences) == 0:
		return fmt.Errorf("token: no audience is given, so tokens for other services would be accepted")
	case len(c.Algorithms) == 0 || c.ScopeClaim == "" || c.TenantClaim == "" && c.Tenant == "":
		return fmt.Errorf("token: algorithms, the scope claim and the tenant claim or a tenant are needed")
	case c.Leeway < 0 || c.Leeway > 5*time.Minute || c.Keep <= 0:
		return fmt.Errorf("token: leeway is %s, want 0 to 5m; keep is %s, want more than 0", c.Leeway, c.Keep)
	}
	for _, a := range c.Algorithms {
		if !slices.Contains(algorithms(), a) {
			return fmt.Errorf("token: algorithm %q is not one of %s", a, strings.Join(algorithms(), ", "))
		}
	}
	for value, scope := range c.Scopes {
		if !slices.Contains(auth.Scopes(), scope) {
			return fmt.Errorf("token: %q maps to the scope %q, which does not exist", value, scope)
		}
	}
	return nil
}

func loopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}
