package client_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/api/client"
	"github.com/voicemill/voicemill/job"
)

// scripted answers each request with the next step; the last one repeats.
func scripted(t *testing.T, steps ...http.HandlerFunc) (*client.Client, *atomic.Int32) {
	t.Helper()
	var n atomic.Int32
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		i := int(n.Add(1)) - 1
		steps[min(i, len(steps)-1)](w, r)
	}))
	t.Cleanup(s.Close)
	c, err := client.New(client.Config{URL: s.URL + "/", Key: "vm_test", HTTP: s.Client()})
	require.NoError(t, err)
	return c, &n
}

func problem(status int, body string, headers ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/problem+json")
		for i := 0; i < len(headers); i += 2 {
			w.Header().Set(headers[i], headers[i+1])
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

func document(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	_, _ = io.WriteString(w, `{"id":"job_1","state":"accepted","version":0,"created_at":"2026-11-22T12:00:00.000Z","unknown_to_this_client":1}`)
}

func TestAProblemReadsAsASentence(t *testing.T) {
	t.Parallel()
	for want, step := range map[string]http.HandlerFunc{
		"There is no such job":                              problem(404, `{"type":"/problems/not-found","title":"x","status":404,"detail":"There is no such job.","request_id":"r"}`),
		"/voice: voice \"x\" is not known":                  problem(422, `{"title":"The request has faults","errors":[{"pointer":"/voice","detail":"voice \"x\" is not known"}]}`),
		"The request has faults:\n  /a: is bad\n  is worse": problem(422, `{"title":"The request has faults","errors":[{"pointer":"/a","detail":"is bad"},{"pointer":"","detail":"is worse"}]}`),
		"Something went wrong here (request req_7)":         problem(500, `{"title":"x","detail":"Something went wrong here.","request_id":"req_7"}`),
		"The server answered 502 Bad Gateway": func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, "<html>proxy</html>", http.StatusBadGateway)
		},
		"The server answered 418 I'm a teapot": problem(418, `not json`),
	} {
		c, n := scripted(t, step)
		_, err := c.Job(t.Context(), "job_1")
		require.EqualError(t, err, want)
		require.Equal(t, int32(1), n.Load(), "asking again would not help")
		var p *client.Problem
		require.ErrorAs(t, err, &p)
	}
}

func TestAServerThatAsksToComeBackIsAskedAgain(t *testing.T) {
	t.Parallel()
	away := problem(503, `{"title":"away","detail":"Try later."}`, "Retry-After", "1")
	c, n := scripted(t, away, document)
	start := time.Now()
	d, err := c.Submit(t.Context(), &job.Spec{Input: job.Input{Text: "Hello."}}, client.SubmitOptions{})
	require.NoError(t, err)
	require.Equal(t, job.ID("job_1"), d.ID)
	require.Equal(t, int32(2), n.Load())
	require.GreaterOrEqual(t, time.Since(start), time.Second)

	c, n = scripted(t, away)
	_, err = c.CreateKey(t.Context(), "x", []string{"admin"})
	require.Error(t, err)
	require.Equal(t, int32(1), n.Load(), "a second key might be made")

	ctx, cancel := context.WithCancelCause(t.Context())
	stop := errors.New("enough")
	c, _ = scripted(t, func(w http.ResponseWriter, r *http.Request) { cancel(stop); away(w, r) })
	_, err = c.Job(ctx, "job_1")
	require.Error(t, err)
}

func TestEverySubmitCarriesTheSameKeyOnEachTry(t *testing.T) {
	t.Parallel()
	var keys []string
	see := func(next http.HandlerFunc) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			keys = append(keys, r.Header.Get("Idempotency-Key"))
			require.Equal(t, "Bearer vm_test", r.Header.Get("Authorization"))
			next(w, r)
		}
	}
	away := problem(503, `{}`)
	c, _ := scripted(t, see(away), see(away), see(document))
	_, err := c.Submit(t.Context(), &job.Spec{}, client.SubmitOptions{})
	require.NoError(t, err)
	require.Len(t, keys, 3)
	require.NotEmpty(t, keys[0])
	require.Equal(t, keys[0], keys[1])
	require.Equal(t, keys[0], keys[2])
}

func TestTheKeyDoesNotFollowALinkIntoTheBucket(t *testing.T) {
	t.Parallel()
	var leaked atomic.Bool
	bucket := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		leaked.Store(r.Header.Get("Authorization") != "")
		_, _ = io.WriteString(w, "RIFF")
	}))
	t.Cleanup(bucket.Close)
	c, _ := scripted(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Location", bucket.URL+"/x?signature=1")
		w.WriteHeader(http.StatusTemporaryRedirect)
	})
	r, size, err := c.Artifact(t.Context(), "job_1", "a b/c.wav")
	require.NoError(t, err)
	defer func() { _ = r.Close() }()
	b, err := io.ReadAll(r)
	require.NoError(t, err)
	require.Equal(t, "RIFF", string(b))
	require.Equal(t, int64(4), size)
	require.False(t, leaked.Load())
}

func TestPollTellsChangeFromNoChange(t *testing.T) {
	t.Parallel()
	c, _ := scripted(t, func(w http.ResponseWriter, r *http.Request) {
		require.Equal(t, "wait=5", r.URL.RawQuery)
		if r.Header.Get("If-None-Match") == `W/"1"` {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		w.Header().Set("ETag", `W/"1"`)
		document(w, r)
	})
	d, tag, err := c.Poll(t.Context(), "job_1", client.PollOptions{Wait: 5 * time.Second})
	require.NoError(t, err)
	require.NotNil(t, d)
	d, tag, err = c.Poll(t.Context(), "job_1", client.PollOptions{Wait: 5 * time.Second, ETag: tag})
	require.NoError(t, err)
	require.Nil(t, d)
	require.Equal(t, `W/"1"`, tag)
}

func TestUploadStreamsWithTheHeadersItIsTold(t *testing.T) {
	t.Parallel()
	var got string
	bucket := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		got = r.Method + " " + r.Header.Get("Content-Type") + " " + string(b)
		require.Equal(t, int64(len(b)), r.ContentLength)
	}))
	t.Cleanup(bucket.Close)
	c, _ := scripted(t, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"id":"upl_1","url":"`+bucket.URL+`/u","method":"PUT","headers":{"Content-Type":"text/plain"},"max_bytes":100,"expires_at":"2026-11-22T12:00:00Z"}`)
	})
	id, err := c.Upload(t.Context(), job.MediaText, strings.NewReader("A book."), 7)
	require.NoError(t, err)
	require.Equal(t, "upl_1", id)
	require.Equal(t, "PUT text/plain A book.", got)
	require.Error(t, c.Put(t.Context(), &client.Upload{}, strings.NewReader(""), -1))
}

func TestABadURLOrKeyIsRefusedAtOnce(t *testing.T) {
	t.Parallel()
	for _, u := range []string{"", "localhost:7860", "ftp://x", "://"} {
		_, err := client.New(client.Config{URL: u})
		require.ErrorContains(t, err, "is not the URL of a voicemill server", u)
	}
	_, err := client.New(client.Config{URL: "http://x", Key: "vm_a\r\nX: y"})
	require.Error(t, err)
}

func TestAServerThatIsNotThereIsNamed(t *testing.T) {
	t.Parallel()
	s := httptest.NewServer(http.NotFoundHandler())
	url := s.URL
	s.Close()
	c, err := client.New(client.Config{URL: url, Tries: 1})
	require.NoError(t, err)
	_, err = c.Voices(t.Context())
	require.ErrorContains(t, err, "cannot reach "+strings.TrimPrefix(url, "http://"))
}
