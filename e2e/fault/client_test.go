package fault_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/api/apitest"
	"github.com/voicemill/voicemill/api/jobdoc"
	"github.com/voicemill/voicemill/e2e/internal/stage"
)

// client speaks plain HTTP, as a stranger would, and tries again where the API
// says that one may.
type client struct {
	stage *stage.Stage
	http  *http.Client
}

func newClient(t *testing.T, s *stage.Stage) *client {
	t.Helper()
	contract, err := apitest.Load(t.Context())
	require.NoError(t, err)
	return &client{stage: s, http: &http.Client{Timeout: 30 * time.Second, Transport: &apitest.Transport{
		Contract: contract, Of: func(r *http.Request) bool { return strings.HasPrefix(r.URL.String(), s.URL) },
		Report: func(violation error) { t.Error(violation) },
	}}}
}

// try sends one request. status is 0 if no answer came.
func (c *client) try(ctx context.Context, method, path, key string, body []byte) (status int, answer []byte) {
	req, err := http.NewRequestWithContext(ctx, method, c.stage.URL+path, bytes.NewReader(body))
	if err != nil {
		return 0, nil
	}
	req.Header.Set("Authorization", "Bearer "+c.stage.Key)
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if key != "" {
		req.Header.Set("Idempotency-Key", key)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return 0, nil
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, nil
	}
	return resp.StatusCode, b
}

// insist repeats a request until it is answered with something other than
// "later". Only a request that may be repeated is given to it.
func (c *client) insist(ctx context.Context, method, path, key string, body []byte) (int, []byte, error) {
	for {
		status, answer := c.try(ctx, method, path, key, body)
		if status != 0 && status != http.StatusServiceUnavailable && status != http.StatusTooManyRequests {
			return status, answer, nil
		}
		select {
		case <-ctx.Done():
			return 0, nil, fmt.Errorf("%s %s: %w", method, path, context.Cause(ctx))
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func (c *client) submit(ctx context.Context, key string, spec map[string]any) (jobdoc.Document, error) {
	var doc jobdoc.Document
	body, err := json.Marshal(spec)
	if err != nil {
		return doc, err
	}
	status, answer, err := c.insist(ctx, http.MethodPost, "/v1/jobs", key, body)
	if err != nil {
		return doc, err
	}
	if status != http.StatusAccepted && status != http.StatusOK {
		return doc, fmt.Errorf("submit: status %d: %s", status, answer)
	}
	return doc, json.Unmarshal(answer, &doc)
}

// job returns the document of an accepted job; anything but a document is an error.
func (c *client) job(ctx context.Context, id string) (jobdoc.Document, error) {
	var doc jobdoc.Document
	status, answer, err := c.insist(ctx, http.MethodGet, "/v1/jobs/"+id, "", nil)
	if err != nil {
		return doc, err
	}
	if status != http.StatusOK {
		return doc, fmt.Errorf("job %s: status %d: %s", id, status, answer)
	}
	return doc, json.Unmarshal(answer, &doc)
}

// await polls until the job is final.
func (c *client) await(ctx context.Context, id string) (jobdoc.Document, error) {
	for {
		doc, err := c.job(ctx, id)
		if err != nil || doc.State.Final() {
			return doc, err
		}
		select {
		case <-ctx.Done():
			return doc, fmt.Errorf("job %s is still %s (%+v): %w", id, doc.State, doc.Progress, context.Cause(ctx))
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// artifact downloads one file and returns its SHA-256.
func (c *client) artifact(ctx context.Context, id, name string) (string, error) {
	status, answer, err := c.insist(ctx, http.MethodGet, "/v1/jobs/"+id+"/artifacts/"+name, "", nil)
	if err != nil {
		return "", err
	}
	if status != http.StatusOK {
		return "", fmt.Errorf("artifact %s of %s: status %d: %s", name, id, status, answer)
	}
	sum := sha256.Sum256(answer)
	return hex.EncodeToString(sum[:]), nil
}

// inbox counts the callbacks that arrive.
type inbox struct {
	mu  sync.Mutex
	got map[string]map[string]int // job id and event -> webhook-id -> times
}

func (i *inbox) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var event struct {
		Type string          `json:"type"`
		Data jobdoc.Document `json:"data"`
	}
	if err := json.NewDecoder(io.LimitReader(r.Body, 1<<20)).Decode(&event); err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	key := string(event.Data.ID) + " " + event.Type
	if i.got[key] == nil {
		i.got[key] = map[string]int{}
	}
	i.got[key][r.Header.Get("webhook-id")]++
	w.WriteHeader(http.StatusNoContent)
}

// ids returns the distinct webhook ids under which an event came.
func (i *inbox) ids(job, event string) []string {
	i.mu.Lock()
	defer i.mu.Unlock()
	var ids []string
	for id := range i.got[job+" "+event] {
		ids = append(ids, id)
	}
	return ids
}
