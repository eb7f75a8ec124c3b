package gateway

import (
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/voicemill/voicemill/gateway/internal/auth"
	"github.com/voicemill/voicemill/gateway/internal/token"
	"github.com/voicemill/voicemill/job"
)

// Words is a list of words that a flag gives separated by commas.
type Words []string

// UnmarshalText implements [encoding.TextUnmarshaler].
func (w *Words) UnmarshalText(text []byte) error {
	*w = nil
	for part := range strings.SplitSeq(string(text), ",") {
		if part = strings.TrimSpace(part); part != "" {
			*w = append(*w, part)
		}
	}
	return nil
}

// ScopeNames says which scope a word in an access token stands for. A flag
// gives it as word=scope, separated by commas.
type ScopeNames map[string]string

// UnmarshalText implements [encoding.TextUnmarshaler].
func (n *ScopeNames) UnmarshalText(text []byte) error {
	var pairs Words
	if err := pairs.UnmarshalText(text); err != nil {
		return err
	}
	*n = ScopeNames{}
	for _, pair := range pairs {
		word, scope, found := strings.Cut(pair, "=")
		if !found {
			return fmt.Errorf("%q is not word=scope", pair)
		}
		(*n)[word] = scope
	}
	return nil
}

// JWT says which access tokens are taken beside API keys. Without an issuer
// none are.
type JWT struct {
	Issuer      string        `help:"OpenID Connect issuer whose access tokens are taken; empty takes none." placeholder:"URL"`
	Audience    Words         `help:"Audiences, of which a token must name one." placeholder:"NAME,..."`
	Algorithms  Words         `help:"Signature algorithms that are believed." default:"RS256,ES256,EdDSA"`
	TenantClaim string        `help:"Claim that names the tenant; a dotted path leads into objects." default:"tenant"`
	Tenant      job.Tenant    `help:"Tenant of tokens without that claim; empty refuses them." placeholder:"NAME"`
	ScopeClaim  string        `help:"Claim with the scopes, a list or words." default:"scope"`
	Scopes      ScopeNames    `help:"What a word in that claim allows; empty: the names of the scopes themselves." placeholder:"WORD=SCOPE,..."`
	Leeway      time.Duration `help:"By how much the issuer's clock may differ." default:"30s"`
	Keep        time.Duration `help:"How long a verified token is believed at most." default:"5m"`
}

// defaultJWT returns the same defaults as the tags.
func defaultJWT() JWT {
	d := token.DefaultConfig()
	return JWT{Algorithms: d.Algorithms, TenantClaim: d.TenantClaim, ScopeClaim: d.ScopeClaim, Leeway: d.Leeway, Keep: d.Keep}
}

func (j JWT) token() token.Config {
	c := token.Config{
		Issuer: j.Issuer, Audiences: j.Audience, Algorithms: j.Algorithms, TenantClaim: j.TenantClaim, Tenant: j.Tenant,
		ScopeClaim: j.ScopeClaim, Scopes: token.DefaultConfig().Scopes, Leeway: j.Leeway, Keep: j.Keep,
	}
	if len(j.Scopes) > 0 {
		c.Scopes = make(map[string]auth.Scope, len(j.Scopes))
		for word, scope := range j.Scopes {
			c.Scopes[word] = auth.Scope(scope)
		}
	}
	return c
}

func (j JWT) validate() error {
	if j.Issuer == "" {
		return nil
	}
	return j.token().Validate()
}

// tokens returns the verifier, nil without an issuer. It keeps its own
// connections to the issuer; the returned function closes them.
func (j JWT) tokens() (v *token.Verifier, done func(), err error) {
	if j.Issuer == "" {
		return nil, func() {}, nil
	}
	tr := &http.Transport{Proxy: http.ProxyFromEnvironment, MaxIdleConns: 2, IdleConnTimeout: time.Minute, ForceAttemptHTTP2: true}
	v, err = token.New(j.token(), tr)
	return v, tr.CloseIdleConnections, err
}
