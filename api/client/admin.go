package client

import (
	"context"
	"net/http"

	"github.com/voicemill/voicemill/api/client/openapi"
	"github.com/voicemill/voicemill/api/jobdoc"
)

// Voice is one voice that jobs may name.
type Voice = openapi.Voice

// Voices lists every voice by name.
func (c *Client) Voices(ctx context.Context) ([]Voice, error) {
	var p Page[Voice]
	_, err := c.repeat(ctx, func(ctx context.Context) (*http.Response, error) { return c.api.ListVoices(ctx) }, &p)
	return p.Items, err
}

// Key is one API key. Secret is set for a new key only.
type Key struct {
	ID          string       `json:"id"`
	Name        string       `json:"name"`
	Scopes      []string     `json:"scopes"`
	Certificate bool         `json:"certificate"` // the public key of one; there is no secret
	CreatedAt   jobdoc.Time  `json:"created_at"`
	RevokedAt   *jobdoc.Time `json:"revoked_at,omitempty"`
	Secret      string       `json:"secret,omitempty"`
}

// Keys lists the tenant's API keys, newest first. limit is 1 to 100, or 0 for 20.
func (c *Client) Keys(ctx context.Context, limit int, cursor string) (*Page[Key], error) {
	var p Page[Key]
	params := openapi.ListKeysParams{Limit: given(limit), Cursor: given(cursor)}
	_, err := c.repeat(ctx, func(ctx context.Context) (*http.Response, error) { return c.api.ListKeys(ctx, &params) }, &p)
	return &p, err
}

// CreateKey makes an API key. Its secret is in the answer and nowhere else.
func (c *Client) CreateKey(ctx context.Context, name string, scopes []string) (*Key, error) {
	body := openapi.CreateKeyJSONRequestBody{Name: given(name), Scopes: scopes}
	var k Key
	_, err := c.do(ctx, func(ctx context.Context) (*http.Response, error) { return c.api.CreateKey(ctx, nil, body) }, &k)
	if err != nil {
		return nil, err
	}
	return &k, nil
}

// RegisterCertificate makes an API key of the certificate that this client shows:
// its HTTP client must have one in its TLS configuration. There is no secret.
func (c *Client) RegisterCertificate(ctx context.Context, name string, scopes []string) (*Key, error) {
	body := openapi.CreateKeyJSONRequestBody{Name: given(name), Scopes: scopes, Certificate: new(true)}
	var k Key
	_, err := c.do(ctx, func(ctx context.Context) (*http.Response, error) { return c.api.CreateKey(ctx, nil, body) }, &k)
	if err != nil {
		return nil, err
	}
	return &k, nil
}

// RevokeKey ends an API key. It may be called again.
func (c *Client) RevokeKey(ctx context.Context, id string) error {
	_, err := c.repeat(ctx, func(ctx context.Context) (*http.Response, error) { return c.api.RevokeKey(ctx, id) }, nil)
	return err
}

// CallbackSecret returns the secret that signs the tenant's callbacks.
func (c *Client) CallbackSecret(ctx context.Context) (string, error) {
	var s struct {
		Secret string `json:"secret"`
	}
	_, err := c.repeat(ctx, func(ctx context.Context) (*http.Response, error) { return c.api.GetCallbackSecret(ctx) }, &s)
	return s.Secret, err
}

// SigningKeys returns the public keys that manifests are signed with, in base64.
func (c *Client) SigningKeys(ctx context.Context) ([]string, error) {
	var list struct {
		Items []struct {
			Key string `json:"key"`
		} `json:"items"`
	}
	_, err := c.repeat(ctx, func(ctx context.Context) (*http.Response, error) { return c.api.ListSigningKeys(ctx) }, &list)
	keys := make([]string, len(list.Items))
	for i, k := range list.Items {
		keys[i] = k.Key
	}
	return keys, err
}
