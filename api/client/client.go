package client

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/voicemill/voicemill/api/client/openapi"
	"github.com/voicemill/voicemill/job"
)

// Config says where the server is and who calls.
type Config struct {
	URL       string       // such as http://127.0.0.1:7860
	Key       string       // API key
	HTTP      *http.Client // nil means one of its own
	UserAgent string       // empty means "voicemill-client"
	Tries     int          // of a call that may be repeated; 0 means 4
}

// Client calls one server.
type Client struct {
	api   *openapi.Client
	host  string
	key   string
	http  *http.Client
	agent string
	tries int
}

const (
	defaultTries = 4
	firstPause   = 250 * time.Millisecond
	longestPause = 10 * time.Second
	maxAnswer    = 64 << 20 // bytes of one JSON answer
	maxProblem   = 1 << 20
)

// New returns a Client. It asks nobody yet.
func New(cfg Config) (*Client, error) {
	base, err := url.Parse(cfg.URL)
	if err != nil || base.Host == "" || (base.Scheme != "http" && base.Scheme != "https") {
		return nil, fmt.Errorf("%q is not the URL of a voicemill server, such as http://127.0.0.1:7860", cfg.URL)
	}
	if strings.ContainsAny(cfg.Key, " \r\n\t") {
		return nil, errors.New("the API key contains white space")
	}
	c := &Client{host: base.Host, key: cfg.Key, http: cfg.HTTP, agent: cfg.UserAgent, tries: cfg.Tries}
	if c.http == nil {
		c.http = &http.Client{Transport: transport()}
	}
	own := *c.http
	// A link into the bucket carries its own permission; our key must not follow it.
	own.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	c.http = &own
	if c.agent == "" {
		c.agent = "voicemill-client"
	}
	if c.tries < 1 {
		c.tries = defaultTries
	}
	c.api, err = openapi.NewClient(base.String(), openapi.WithHTTPClient(c.http), openapi.WithRequestEditorFn(c.sign))
	if err != nil {
		return nil, fmt.Errorf("call %s: %w", base.Host, err)
	}
	return c, nil
}

func transport() *http.Transport {
	return &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		TLSHandshakeTimeout:   10 * time.Second,
		ResponseHeaderTimeout: 3 * time.Minute, // a held poll takes up to one
		ExpectContinueTimeout: 5 * time.Second, // the server looks for the upload in its database and the bucket
		IdleConnTimeout:       60 * time.Second,
		MaxIdleConnsPerHost:   16,
	}
}

// send makes one request to the API, by the generated client.
type send func(ctx context.Context) (*http.Response, error)

// do sends a call and reads its answer into out, unless it is nil or the status
// is 304. Any other status than 2xx, 304 and 307 is a *Problem.
func (c *Client) do(ctx context.Context, s send, out any) (*http.Response, error) {
	return c.times(ctx, 1, s, out)
}

// repeat is do for a call that may be made again without harm.
func (c *Client) repeat(ctx context.Context, s send, out any) (*http.Response, error) {
	return c.times(ctx, c.tries, s, out)
}

func (c *Client) times(ctx context.Context, tries int, s send, out any) (*http.Response, error) {
	for try := 1; ; try++ {
		resp, err := c.once(ctx, s, out)
		if err == nil || try >= tries || !again(err) || ctx.Err() != nil {
			return resp, err
		}
		if stop := sleep(ctx, pause(err, try)); stop != nil {
			return nil, errors.Join(stop, err)
		}
	}
}

func (c *Client) once(ctx context.Context, s send, out any) (*http.Response, error) {
	resp, err := s(ctx)
	if err != nil {
		return nil, fmt.Errorf("cannot reach %s: %w", c.host, err)
	}
	defer func() { _ = resp.Body.Close() }()
	switch {
	case resp.StatusCode == http.StatusNotModified, resp.StatusCode == http.StatusTemporaryRedirect:
		return resp, nil
	case resp.StatusCode < 200 || resp.StatusCode > 299:
		return nil, problemOf(resp)
	case out == nil || resp.StatusCode == http.StatusNoContent:
		return resp, nil
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(out); err != nil {
		return nil, fmt.Errorf("read the answer of %s: %w", c.host, err)
	}
	return resp, nil
}

// sign adds what every request carries.
func (c *Client) sign(_ context.Context, req *http.Request) error {
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", c.agent)
	if c.key != "" {
		req.Header.Set("Authorization", "Bearer "+c.key)
	}
	return nil
}

// again reports whether the same call may succeed a moment later: the server
// asked for it, or there was none.
func again(err error) bool {
	if p, ok := errors.AsType[*Problem](err); ok {
		return p.Status == http.StatusServiceUnavailable || p.Status == http.StatusTooManyRequests
	}
	var ne net.Error
	return errors.As(err, &ne) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}

func pause(err error, try int) time.Duration {
	d := firstPause << (try - 1)
	var p *Problem
	if errors.As(err, &p) && p.RetryAfter > 0 {
		d = p.RetryAfter
	}
	return min(d, longestPause)
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// newKey returns a fresh idempotency key.
func newKey() (string, error) {
	key, err := job.NewToken("idem_", rand.Reader)
	if err != nil {
		return "", fmt.Errorf("make an idempotency key: %w", err)
	}
	return key, nil
}

// given is a parameter that is sent unless it has its zero value.
func given[T comparable](v T) *T {
	if v == *new(T) {
		return nil
	}
	return &v
}
