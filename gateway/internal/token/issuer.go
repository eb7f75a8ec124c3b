package token

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"

	"github.com/voicemill/voicemill/gateway/internal/limit"
)

const (
	fetchTimeout = 5 * time.Second
	fetchBytes   = 1 << 20         // of one document of the issuer
	fetchBurst   = 5               // fetches at once
	fetchEvery   = 2 * time.Second // and on average
)

// errAway is in the error of a fetch that was not made or brought nothing, so that
// it is not known whether a token is good.
var errAway = errors.New("token: the issuer cannot be reached or was asked a moment ago")

// issuer fetches the configuration and the keys. It is safe for concurrent use.
type issuer struct {
	url    string
	client *http.Client

	mu   sync.Mutex
	keys oidc.KeySet // guarded by mu; nil until the configuration was read
}

func newIssuer(url string, base http.RoundTripper) *issuer {
	return &issuer{url: url, client: &http.Client{
		Timeout: fetchTimeout, Transport: &limited{base, limit.NewBucket(limit.Rate{Count: 1, Per: fetchEvery, Burst: fetchBurst})},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// keySet returns the issuer's keys, which refresh themselves. The lock is held
// over the first fetch, so that everybody waits for one answer; the client's
// time-out bounds that.
func (i *issuer) keySet(ctx context.Context) (oidc.KeySet, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.keys != nil {
		return i.keys, nil
	}
	ctx = oidc.ClientContext(context.WithoutCancel(ctx), i.client)
	provider, err := oidc.NewProvider(ctx, i.url)
	if err != nil {
		return nil, errors.Join(errAway, err)
	}
	var found struct {
		Keys string `json:"jwks_uri"`
	}
	if err := provider.Claims(&found); err != nil || found.Keys == "" {
		return nil, errors.Join(errAway, fmt.Errorf("the issuer's configuration names no keys: %w", err))
	}
	i.keys = oidc.NewRemoteKeySet(ctx, found.Keys)
	return i.keys, nil
}

// probe keeps why a signature could not be verified, which go-oidc turns into text.
type probe struct {
	oidc.KeySet
	err error
}

// VerifySignature implements [oidc.KeySet].
func (p *probe) VerifySignature(ctx context.Context, jwt string) ([]byte, error) {
	payload, err := p.KeySet.VerifySignature(ctx, jwt)
	p.err = err
	return payload, err
}

// limited bounds how often the issuer is asked and how much it may answer.
type limited struct {
	base    http.RoundTripper
	fetches *limit.Bucket
}

// RoundTrip implements [http.RoundTripper].
func (f *limited) RoundTrip(r *http.Request) (*http.Response, error) {
	if f.fetches.Take(time.Now()) > 0 {
		return nil, errAway
	}
	resp, err := f.base.RoundTrip(r)
	if err == nil && resp.StatusCode != http.StatusOK {
		_ = resp.Body.Close()
		err = fmt.Errorf("%s answers %s", r.URL.Redacted(), resp.Status)
	}
	if err != nil {
		return nil, errors.Join(errAway, err)
	}
	resp.Body = struct {
		io.Reader
		io.Closer
	}{io.LimitReader(resp.Body, fetchBytes), resp.Body}
	return resp, nil
}
