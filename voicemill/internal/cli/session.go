package cli

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/voicemill/voicemill/api/jobdoc"
	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/voicemill/internal/cli/console"
	"github.com/voicemill/voicemill/voicemill/internal/cli/fetch"
	"github.com/voicemill/voicemill/voicemill/internal/cli/follow"
	"github.com/voicemill/voicemill/voicemill/internal/cli/wire"
	"github.com/voicemill/voicemill/voicemill/internal/progress"
)

// Session is the connection of one run of the command to one server.
type Session struct {
	calls    *wire.Client
	files    *http.Client // for the bucket: without the key
	base     *url.URL
	address  string // base as it is shown
	patience time.Duration
}

// connectTimeout bounds reaching the server, headerTimeout the silence before
// an answer begins: longer than the longest poll.
const (
	connectTimeout = 5 * time.Second
	pollSeconds    = 30
	headerTimeout  = (pollSeconds + 15) * time.Second
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
	return &Session{
		calls: &wire.Client{Base: address, Key: key, HTTP: &http.Client{Transport: transport, CheckRedirect: noRedirect}},
		files: &http.Client{Transport: transport}, base: u, address: address, patience: g.Patience,
	}, nil
}

func newTransport() *http.Transport {
	t := http.DefaultTransport.(*http.Transport).Clone() //nolint:forcetypeassert // that is what it is
	t.DialContext = (&net.Dialer{Timeout: connectTimeout}).DialContext
	t.ResponseHeaderTimeout = headerTimeout
	return t
}

// noRedirect keeps the key from following a redirect to the bucket.
func noRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// away reports whether err says that asking again later may help.
func away(err error) bool { return errors.Is(err, follow.ErrLost) || wire.Away(err) }

func overloaded(p *wire.Problem) bool { return wire.Away(p) }

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

func (s *Session) submit(ctx context.Context, spec job.Spec, key string) (d jobdoc.Document, err error) {
	_, _, err = s.calls.Do(ctx, wire.Request{
		Method: http.MethodPost, Path: "/v1/jobs", Header: http.Header{"Idempotency-Key": {key}}, In: spec, Out: &d,
	})
	return d, err
}

func jobPath(id job.ID) string { return "/v1/jobs/" + url.PathEscape(string(id)) }

func (s *Session) job(ctx context.Context, id job.ID) (d jobdoc.Document, err error) {
	_, _, err = s.calls.Do(ctx, wire.Request{Method: http.MethodGet, Path: jobPath(id), Out: &d})
	return d, err
}

// poll returns a Poll that remembers the last answer.
func (s *Session) poll(id job.ID) follow.Poll {
	var last jobdoc.Document
	var etag string
	wait := 0 // the first answer comes at once; the others when the job is no longer as etag says
	return func(ctx context.Context) (jobdoc.Document, error) {
		header := http.Header{}
		if etag != "" {
			header.Set("If-None-Match", etag)
		}
		var d jobdoc.Document
		status, answer, err := s.calls.Once(ctx, wire.Request{
			Method: http.MethodGet, Path: jobPath(id) + "?wait=" + strconv.Itoa(wait), Header: header, Out: &d,
		})
		if err != nil {
			return jobdoc.Document{}, err
		}
		wait = pollSeconds
		if status != http.StatusNotModified {
			last, etag = d, answer.Get("ETag")
		}
		return last, nil
	}
}

func (s *Session) cancel(ctx context.Context, id job.ID) (d jobdoc.Document, err error) {
	_, _, err = s.calls.Do(ctx, wire.Request{Method: http.MethodPost, Path: jobPath(id) + "/cancel", Out: &d})
	return d, err
}

// jobQuery says which jobs to list.
type jobQuery struct {
	states        []string
	labels        map[string]string
	class         string
	after, before time.Time
	limit         int
	cursor        string
}

func (q jobQuery) values() url.Values {
	v := url.Values{"limit": {strconv.Itoa(q.limit)}}
	if len(q.states) > 0 {
		v.Set("state", strings.Join(q.states, ","))
	}
	for k, value := range q.labels {
		v.Add("label", k+":"+value)
	}
	for name, value := range map[string]string{"class": q.class, "cursor": q.cursor} {
		if value != "" {
			v.Set(name, value)
		}
	}
	for name, t := range map[string]time.Time{"created_after": q.after, "created_before": q.before} {
		if !t.IsZero() {
			v.Set(name, t.UTC().Format(time.RFC3339Nano))
		}
	}
	return v
}

func (s *Session) list(ctx context.Context, q jobQuery) ([]jobdoc.Document, string, error) {
	var page struct {
		Items []jobdoc.Document `json:"items"`
		Next  string            `json:"next_cursor"`
	}
	_, _, err := s.calls.Do(ctx, wire.Request{Method: http.MethodGet, Path: "/v1/jobs?" + q.values().Encode(), Out: &page})
	return page.Items, page.Next, err
}

// open opens an artifact from offset on.
func (s *Session) open(ctx context.Context, id job.ID, name string, offset int64) (fetch.Body, error) {
	_, header, err := s.calls.Do(ctx, wire.Request{Method: http.MethodGet, Path: jobPath(id) + "/artifacts/" + url.PathEscape(name)})
	if err != nil {
		return fetch.Body{}, err
	}
	location, err := s.base.Parse(header.Get("Location"))
	if err != nil || header.Get("Location") == "" {
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
	defer resp.Body.Close() //nolint:errcheck // only an error answer
	return fetch.Body{}, wire.ReadProblem(resp)
}

// voice is one voice of the server.
type voice struct {
	Name       string `json:"name"`
	Language   string `json:"language"`
	Engine     string `json:"engine"`
	SampleRate int    `json:"sample_rate"`
	Default    bool   `json:"default"`
}

func (s *Session) voices(ctx context.Context) ([]voice, error) {
	var page struct{ Items []voice }
	_, _, err := s.calls.Do(ctx, wire.Request{Method: http.MethodGet, Path: "/v1/voices", Out: &page})
	return page.Items, err
}

// apiKey is one API key; Secret is known only just after it was created.
type apiKey struct {
	ID        string       `json:"id"`
	Name      string       `json:"name"`
	Scopes    []string     `json:"scopes"`
	CreatedAt jobdoc.Time  `json:"created_at"`
	RevokedAt *jobdoc.Time `json:"revoked_at,omitempty"`
	Secret    string       `json:"secret,omitempty"`
}

func (s *Session) createKey(ctx context.Context, name string, scopes []string) (k apiKey, err error) {
	in := map[string]any{"scopes": scopes}
	if name != "" {
		in["name"] = name
	}
	_, _, err = s.calls.Do(ctx, wire.Request{Method: http.MethodPost, Path: "/v1/keys", Header: http.Header{"Idempotency-Key": {rand.Text()}}, In: in, Out: &k})
	return k, err
}

// keys returns every key, page by page.
func (s *Session) keys(ctx context.Context) ([]apiKey, error) {
	var all []apiKey
	for cursor := ""; ; {
		var page struct {
			Items []apiKey `json:"items"`
			Next  string   `json:"next_cursor"`
		}
		q := url.Values{"limit": {strconv.Itoa(maxPage)}}
		if cursor != "" {
			q.Set("cursor", cursor)
		}
		if _, _, err := s.calls.Do(ctx, wire.Request{Method: http.MethodGet, Path: "/v1/keys?" + q.Encode(), Out: &page}); err != nil {
			return nil, err
		}
		all = append(all, page.Items...)
		if cursor = page.Next; cursor == "" {
			return all, nil
		}
	}
}

func (s *Session) revokeKey(ctx context.Context, id string) error {
	_, _, err := s.calls.Do(ctx, wire.Request{Method: http.MethodDelete, Path: "/v1/keys/" + url.PathEscape(id)})
	return err
}
