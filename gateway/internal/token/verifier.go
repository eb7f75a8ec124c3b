package token

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"

	"github.com/voicemill/voicemill/gateway/internal/auth"
	"github.com/voicemill/voicemill/job"
)

// Verifier verifies tokens. It is safe for concurrent use.
type Verifier struct {
	cfg    Config
	issuer *issuer
	rules  *oidc.Config
}

// New returns a verifier; base carries its requests to the issuer. It asks the
// issuer nothing yet.
func New(cfg Config, base http.RoundTripper) (*Verifier, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	return &Verifier{
		cfg: cfg, issuer: newIssuer(cfg.Issuer, base),
		// Audience and times are checked here: several audiences, one leeway for all times.
		rules: &oidc.Config{SupportedSigningAlgs: cfg.Algorithms, SkipClientIDCheck: true, SkipExpiryCheck: true},
	}, nil
}

// Verify returns who carries the token and until when that holds. Unauthorized
// if the token is not to be believed, Unavailable if that cannot be known now.
// It may ask the issuer, in bounded time.
func (v *Verifier) Verify(ctx context.Context, raw string) (id *auth.Identity, until time.Time, err error) {
	keys, err := v.issuer.keySet(ctx)
	if err != nil {
		return nil, time.Time{}, away(err)
	}
	p := &probe{KeySet: keys}
	t, err := oidc.NewVerifier(v.cfg.Issuer, p, v.rules).Verify(ctx, raw)
	switch {
	case err == nil:
	case errors.Is(p.err, errAway) || ctx.Err() != nil:
		return nil, time.Time{}, away(p.err)
	default:
		return nil, time.Time{}, &job.Error{Op: "token.Verify", Kind: job.Unauthorized, Public: "This access token is not valid.", Err: err}
	}
	if !slices.ContainsFunc(t.Audience, func(a string) bool { return slices.Contains(v.cfg.Audiences, a) }) {
		return nil, time.Time{}, refuse("This access token is for another service.")
	}
	var got claims
	if err := t.Claims(&got); err != nil {
		return nil, time.Time{}, refuse("This access token cannot be read.")
	}
	return v.cfg.identity(t.Subject, got, time.Now())
}

func refuse(public string) error {
	return &job.Error{Op: "token.Verify", Kind: job.Unauthorized, Public: public}
}

func away(err error) error {
	return &job.Error{Op: "token.Verify", Kind: job.Unavailable, Public: "Access tokens cannot be verified right now; try again later.", Err: err}
}
