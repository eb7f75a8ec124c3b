package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"time"

	"github.com/voicemill/voicemill/api/client"
	"github.com/voicemill/voicemill/api/jobdoc"
	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/voicemill/internal/cli/console"
	"github.com/voicemill/voicemill/voicemill/internal/cli/fetch"
	"github.com/voicemill/voicemill/voicemill/internal/cli/follow"
	"github.com/voicemill/voicemill/voicemill/internal/progress"
)

// Session is the connection of one run of the command to one server.
type Session struct {
	calls    *client.Client
	polls    *client.Client // tries once, so that a server that went away is mentioned at once
	files    *http.Client   // for the bucket: without the key
	base     *url.URL
	address  string // base as it is shown
	patience time.Duration
	through  bool // documents and files go through the gateway
}

// connectTimeout bounds reaching the server, headerTimeout the silence before
// an answer begins: longer than the longest poll.
const (
	connectTimeout = 5 * time.Second
	pollWait       = 30 * time.Second
	headerTimeout  = pollWait + 15*time.Second
)

func newSession(g *Globals, con *console.Console) (*Session, error) {
	address := g.address(con)
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, usagef("the address %q is not like http://host:port", address)
	}
	key, err := g.key(con)
	if err != nil {
		return nil, err
	}
	if strings.ContainsFunc(key, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return nil, usagef("the API key has characters that no key has")
	}
	transport := newTransport()
	if transport.TLSClientConfig, err = g.tls(con); err != nil {
		return nil, err
	}
	cfg := client.Config{URL: address, Key: key, HTTP: &http.Client{Transport: transport}, UserAgent: "voicemill/" + con.Version}
	calls, err := client.New(cfg)
	if err != nil {
		return nil, &ExitError{Code: ExitUsage, Err: err}
	}
	cfg.Tries = 1
	polls, err := client.New(cfg)
	if err != nil {
		return nil, &ExitError{Code: ExitUsage, Err: err}
	}
	return &Session{calls: calls, polls: polls, files: cfg.HTTP, base: u, address: address, patience: g.Patience, through: g.Through}, nil
}

func newTransport() *http.Transport {
	t := http.DefaultTransport.(*http.Transport).Clone() //nolint:forcetypeassert // that is what it is
	t.DialContext = (&net.Dialer{Timeout: connectTimeout}).DialContext
	t.ResponseHeaderTimeout = headerTimeout
	return t
}

// away reports whether err says that the server cannot be reached or has no
// room now, so that asking again later may help.
func away(err error) bool {
	if errors.Is(err, context.Canceled) {
		return false
	}
	if p, ok := errors.AsType[*client.Problem](err); ok {
		return overloaded(p)
	}
	_, broken := errors.AsType[net.Error](err)
	return broken || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) || errors.Is(err, follow.ErrLost)
}

func overloaded(p *client.Problem) bool {
	return p.Kind() == job.Overloaded || p.Kind() == job.Unavailable
}

// reason says in a few words why the server could not be reached.
func reason(err error) string {
	var dns *net.DNSError
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection refused"
	case errors.As(err, &dns):
		return "there is no host " + dns.Name
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "the connection broke"
	}
	if ne, ok := errors.AsType[net.Error](err); ok && ne.Timeout() {
		return "no answer in time"
	}
	return progress.Clean(err.Error())
}

func (s *Session) submit(ctx context.Context, spec job.Spec, key string) (jobdoc.Document, error) {
	return value(s.calls.Submit(ctx, &spec, client.SubmitOptions{IdempotencyKey: key}))
}

func (s *Session) job(ctx context.Context, id job.ID) (jobdoc.Document, error) {
	return value(s.calls.Job(ctx, id))
}

func (s *Session) cancel(ctx context.Context, id job.ID) (jobdoc.Document, error) {
	return value(s.calls.Cancel(ctx, id))
}

func value(d *jobdoc.Document, err error) (jobdoc.Document, error) {
	if err != nil {
		return jobdoc.Document{}, err
	}
	return *d, nil
}

// poll returns a Poll that remembers the last answer.
func (s *Session) poll(id job.ID) follow.Poll {
	var last jobdoc.Document
	o := client.PollOptions{} // the first answer comes at once; the others when the job is no longer as ETag says
	return func(ctx context.Context) (jobdoc.Document, error) {
		d, etag, err := s.polls.Poll(ctx, id, o)
		if err != nil {
			return jobdoc.Document{}, err
		}
		o = client.PollOptions{ETag: etag, Wait: pollWait}
		if d != nil {
			last = *d
		}
		return last, nil
	}
}

// open opens an artifact from offset on.
func (s *Session) open(ctx context.Context, id job.ID, name string, offset int64) (fetch.Body, error) {
	if s.through {
		r, from, err := s.calls.ProxiedArtifact(ctx, id, name, offset)
		return fetch.Body{ReadCloser: r, Offset: from}, err
	}
	link, err := s.calls.ArtifactURL(ctx, id, name)
	if err != nil {
		return fetch.Body{}, err
	}
	location, err := s.base.Parse(link)
	if err != nil {
		return fetch.Body{}, fmt.Errorf("the server names no address for %s", name)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, location.String(), http.NoBody)
	if err != nil {
		return fetch.Body{}, fmt.Errorf("ask for %s: %w", name, err)
	}
	if offset > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", offset))
	}
	resp, err := s.files.Do(req)
	if err != nil {
		return fetch.Body{}, err
	}
	switch resp.StatusCode {
	case http.StatusOK:
		return fetch.Body{ReadCloser: resp.Body}, nil
	case http.StatusPartialContent:
		return fetch.Body{ReadCloser: resp.Body, Offset: offset}, nil
	}
	err = &client.Problem{Status: resp.StatusCode, Title: "The bucket answered " + resp.Status, Detail: "The file is " + name}
	return fetch.Body{}, errors.Join(err, resp.Body.Close())
}

// keys returns every key, page by page.
func (s *Session) keys(ctx context.Context) ([]client.Key, error) {
	var all []client.Key
	for cursor := ""; ; {
		page, err := s.calls.Keys(ctx, maxPage, cursor)
		if err != nil {
			return nil, err
		}
		all = append(all, page.Items...)
		if cursor = page.Next; cursor == "" {
			return all, nil
		}
	}
}
