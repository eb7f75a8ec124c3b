package web

import (
	"context"
	"fmt"
	"net/http"

	"github.com/voicemill/voicemill/api/jobdoc"
	"github.com/voicemill/voicemill/gateway/internal/auth"
	"github.com/voicemill/voicemill/gateway/internal/operation"
	"github.com/voicemill/voicemill/gateway/internal/problem"
	"github.com/voicemill/voicemill/gateway/internal/store"
)

type keyDocument struct {
	ID          string       `json:"id"`
	Name        string       `json:"name"`
	Scopes      []auth.Scope `json:"scopes"`
	Certificate bool         `json:"certificate"`
	CreatedAt   jobdoc.Time  `json:"created_at"`
	RevokedAt   *jobdoc.Time `json:"revoked_at,omitempty"`
	Secret      string       `json:"secret,omitempty"` // of a new key only
}

func documentOfKey(k store.Key) keyDocument {
	d := keyDocument{ID: k.ID, Name: k.Name, Scopes: k.Scopes, Certificate: k.Certificate, CreatedAt: jobdoc.Time{Time: k.CreatedAt}}
	if k.RevokedAt != nil {
		d.RevokedAt = &jobdoc.Time{Time: *k.RevokedAt}
	}
	return d
}

func listKeys(ctx context.Context, c *Call) (*Answer, error) {
	return listed(ctx, c, c.s.ops.ListKeys, documentOfKey)
}

func createKey(ctx context.Context, c *Call) (*Answer, error) {
	var r operation.KeyRequest
	shape, err := decode(c, c.s.keys, &r)
	if err != nil {
		return nil, err
	}
	once := c.once()
	k, secret, err := c.s.ops.CreateKey(ctx, &c.caller, &r, shape, &once, c.certificate)
	if err != nil {
		return nil, err
	}
	d := documentOfKey(k)
	d.Secret = secret
	return reply(http.StatusCreated, &d), nil
}

func revokeKey(ctx context.Context, c *Call) (*Answer, error) {
	if err := c.s.ops.RevokeKey(ctx, &c.caller, c.params[0]); err != nil {
		return nil, err
	}
	return &Answer{Status: http.StatusNoContent}, nil
}

func callbackSecret(ctx context.Context, c *Call) (*Answer, error) {
	secret, err := c.s.ops.CallbackSecret(ctx, &c.caller)
	if err != nil {
		return nil, err
	}
	return reply(http.StatusOK, struct {
		Secret string `json:"secret"`
	}{secret}), nil
}

type signingKeyDocument struct {
	Algorithm string `json:"algorithm"`
	Key       string `json:"key"`
}

func listSigningKeys(ctx context.Context, c *Call) (*Answer, error) {
	key, err := c.s.ops.SigningKey(ctx)
	if err != nil {
		return nil, err
	}
	return reply(http.StatusOK, list[signingKeyDocument]{Items: []signingKeyDocument{{Algorithm: "ed25519", Key: key}}}), nil
}

type voiceDocument struct {
	Name         string `json:"name"`
	Language     string `json:"language"`
	Engine       string `json:"engine"`
	SampleRate   int    `json:"sample_rate"`
	Default      bool   `json:"default"`
	Instructions bool   `json:"instructions"`

	Licence     string `json:"licence,omitempty"`
	Attribution string `json:"attribution,omitempty"`

	Available        bool         `json:"available"`
	UnavailableSince *jobdoc.Time `json:"unavailable_since,omitempty"`
}

func listVoices(_ context.Context, c *Call) (*Answer, error) {
	page := list[voiceDocument]{Items: []voiceDocument{}}
	for _, v := range c.s.ops.Voices() {
		d := voiceDocument{
			Name: v.Name, Language: v.Language, Engine: v.Engine, SampleRate: v.SampleRate, Default: v.Default, Instructions: v.Instructions,
			Licence: v.Licence, Attribution: v.Attribution, Available: v.GoneSince.IsZero(),
		}
		if !d.Available {
			d.UnavailableSince = &jobdoc.Time{Time: v.GoneSince}
		}
		page.Items = append(page.Items, d)
	}
	return reply(http.StatusOK, &page), nil
}

// problemPage answers with what a type of problem means.
func problemPage(_ context.Context, c *Call) (*Answer, error) {
	t, known := problem.TypeOf(problem.Slug(c.params[0]))
	if !known {
		return nil, problem.New(problem.NotFound, "There is no such type of problem.")
	}
	page := fmt.Sprintf("<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<title>%[1]s</title>\n<h1>%[1]s</h1>\n<p>%[2]s\n<p>Answered with status %[3]d.\n</html>\n", t.Title, t.Means, t.Status)
	return &Answer{Status: http.StatusOK, ContentType: "text/html; charset=utf-8", Body: []byte(page)}, nil
}
