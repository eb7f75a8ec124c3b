package cli_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/voicemill/voicemill/api/jobdoc"
	"github.com/voicemill/voicemill/job"
)

const (
	testKey = "vm_abcdefghijklmnopqrstuvwxyz"
	testID  = job.ID("job_000000000000000000000000000000000000001")
)

var created = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// server speaks the HTTP of openapi.yaml as far as the command needs it. A
// test sets what it answers and reads what it was asked.
type server struct {
	*httptest.Server
	t *testing.T

	bucket   string // where uploads go; its own address
	mu       sync.Mutex
	job      jobdoc.Document
	files    map[string][]byte       // what the artifacts' URLs serve
	page     map[string]jobPage      // by cursor
	fail     func(*http.Request) int // a status to answer instead, or 0
	cut      int                     // bytes after which the next file answer breaks, once
	cutPut   int                     // how many PUTs are answered by a closed connection
	changed  chan struct{}           // closed when job changes
	asked    []string                // "METHOD path" in order
	onPoll   func()                  // called when a poll begins to be held
	spec     job.Spec                // of the last submit
	keys     []string                // every Idempotency-Key of a submit
	uploaded []byte
}

type jobPage struct {
	Items []jobdoc.Document `json:"items"`
	Next  string            `json:"next_cursor,omitempty"`
}

func newServer(t *testing.T) *server {
	t.Helper()
	s := &server{t: t, files: map[string][]byte{}, changed: make(chan struct{})}
	s.job = jobdoc.Document{
		ID: testID, State: job.StateRunning, Version: 3, Class: job.Bulk, Labels: map[string]string{},
		CreatedAt: jobdoc.Time{Time: created}, StartedAt: &jobdoc.Time{Time: created.Add(2 * time.Second)},
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/jobs", s.submit)
	mux.HandleFunc("GET /v1/jobs", s.list)
	mux.HandleFunc("GET /v1/jobs/{id}", s.get)
	mux.HandleFunc("POST /v1/jobs/{id}/cancel", s.cancel)
	mux.HandleFunc("GET /v1/jobs/{id}/artifacts/{name}", s.artifact)
	mux.HandleFunc("GET /bucket/{name}", s.object)
	mux.HandleFunc("PUT /bucket/upload", s.put)
	mux.HandleFunc("POST /v1/uploads", s.upload)
	mux.HandleFunc("GET /v1/voices", s.static(`{"items":[{"name":"amy","language":"en-GB","engine":"espeak-ng","sample_rate":22050,"default":true},{"name":"karl","language":"de","engine":"espeak-ng","sample_rate":22050,"default":true}]}`))
	mux.HandleFunc("GET /v1/keys", s.static(`{"items":[{"id":"key_1","name":"first","scopes":["admin"],"created_at":"2026-11-22T12:00:00.000Z"},{"id":"key_0","name":"old","scopes":["jobs:read"],"certificate":true,"created_at":"2026-11-21T12:00:00.000Z","revoked_at":"2026-11-22T11:00:00.000Z"}]}`))
	mux.HandleFunc("POST /v1/keys", func(w http.ResponseWriter, _ *http.Request) {
		s.answer(w, 201, json.RawMessage(`{"id":"key_2","name":"laptop","scopes":["jobs:read"],"created_at":"2026-11-22T12:00:00.000Z","secret":"vm_zyxwvutsrqponmlkjihgfedcba"}`))
	})
	mux.HandleFunc("DELETE /v1/keys/{id}", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) })
	s.Server = httptest.NewServer(s.guard(mux))
	s.bucket = s.URL
	t.Cleanup(s.Close)
	return s
}

// guard notes each call, checks the key and lets the test fail the call.
func (s *server) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.asked = append(s.asked, r.Method+" "+r.URL.Path)
		fail := s.fail
		s.mu.Unlock()
		w.Header().Set("X-Request-Id", "req-1")
		signed := strings.HasPrefix(r.URL.Path, "/bucket/")
		if signed && r.Header.Get("Authorization") != "" {
			s.t.Errorf("%s %s carries the API key to the bucket", r.Method, r.URL.Path)
		}
		if fail != nil {
			if status := fail(r); status != 0 {
				s.problem(w, status, "Something is wrong", "The test says so.")
				return
			}
		}
		if !signed && r.Header.Get("Authorization") != "Bearer "+testKey {
			s.problem(w, 401, "The key is missing or wrong", "")
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (s *server) answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	if err := json.NewEncoder(w).Encode(v); err != nil {
		s.t.Logf("answer: %v", err)
	}
}

func (s *server) problem(w http.ResponseWriter, status int, title, detail string, faults ...job.Fault) {
	w.Header().Set("Content-Type", "application/problem+json")
	if status == 401 {
		w.Header().Set("WWW-Authenticate", "Bearer")
	}
	if status == 503 || status == 429 {
		w.Header().Set("Retry-After", "1")
	}
	w.WriteHeader(status)
	body := map[string]any{"type": "/problems/test", "title": title, "status": status, "detail": detail, "request_id": "req-1"}
	if len(faults) > 0 {
		body["errors"] = faults
	}
	if err := json.NewEncoder(w).Encode(body); err != nil {
		s.t.Logf("answer: %v", err)
	}
}

func (s *server) static(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { s.answer(w, 200, json.RawMessage(body)) }
}

func (s *server) submit(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.spec = job.Spec{}
	if err := json.NewDecoder(r.Body).Decode(&s.spec); err != nil {
		s.problem(w, 400, "The body is not JSON", err.Error())
		return
	}
	s.keys = append(s.keys, r.Header.Get("Idempotency-Key"))
	if s.spec.Voice == "nobody" {
		s.problem(w, 422, "The request has faults", "2 members are wrong.",
			job.Fault{Pointer: "/voice", Detail: "There is no voice nobody."}, job.Fault{Pointer: "/speed", Detail: "9 is not between 0.5 and 2."})
		return
	}
	w.Header().Set("Location", "/v1/jobs/"+string(testID))
	w.Header().Set("ETag", `W/"0"`)
	s.answer(w, 202, jobdoc.Accepted(testID, created, &s.spec))
}

func (s *server) list(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer(w, 200, s.page[r.URL.Query().Get("cursor")])
}

// get answers as the gateway does: at once, or after a change if ?wait= and
// If-None-Match say so.
func (s *server) get(w http.ResponseWriter, r *http.Request) {
	if r.PathValue("id") != string(testID) {
		s.problem(w, 404, "There is no such job", "")
		return
	}
	wait, _ := strconv.Atoi(r.URL.Query().Get("wait"))
	deadline := time.After(time.Duration(wait) * time.Second)
	for {
		s.mu.Lock()
		d, changed := s.job, s.changed
		s.mu.Unlock()
		etag := fmt.Sprintf(`W/"%d-%s"`, d.Version, d.State)
		w.Header().Set("ETag", etag)
		same := r.Header.Get("If-None-Match") == etag
		if !same || wait == 0 || d.State.Final() {
			s.answer(w, 200, d)
			return
		}
		if s.onPoll != nil {
			s.onPoll()
		}
		select {
		case <-changed:
		case <-deadline:
			w.WriteHeader(304)
			return
		case <-r.Context().Done():
			return
		}
	}
}

// change replaces the job's state and wakes whoever waits.
func (s *server) change(fn func(*jobdoc.Document)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fn(&s.job)
	s.job.Version++
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *server) cancel(w http.ResponseWriter, _ *http.Request) {
	s.change(func(d *jobdoc.Document) {
		if !d.State.Final() {
			d.State = job.StateCancelled
		}
	})
	s.mu.Lock()
	defer s.mu.Unlock()
	w.Header().Set("ETag", `W/"9"`)
	s.answer(w, 200, s.job)
}

func (s *server) artifact(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Location", s.URL+"/bucket/"+r.PathValue("name")+"?signed=1")
	w.WriteHeader(http.StatusTemporaryRedirect)
}

func (s *server) object(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	b, ok := s.files[r.PathValue("name")]
	cut := s.cut
	s.cut = 0
	s.mu.Unlock()
	if !ok {
		w.WriteHeader(404)
		return
	}
	if cut > 0 {
		w.Header().Set("Content-Length", strconv.Itoa(len(b)))
		_, _ = w.Write(b[:cut])
		panic(http.ErrAbortHandler)
	}
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(b))
}

func (s *server) upload(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Media string `json:"media_type"`
		Bytes int64  `json:"bytes"`
	}
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		s.problem(w, 400, "The body is not JSON", err.Error())
		return
	}
	s.answer(w, 201, map[string]any{
		"id": "upl_1", "url": s.bucket + "/bucket/upload?signed=1", "method": "PUT",
		"headers": map[string]string{"Content-Type": in.Media}, "media_type": in.Media,
		"max_bytes": 1 << 29, "expires_at": "2036-11-22T12:00:00.000Z",
	})
}

func (s *server) put(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	cut := s.cutPut > 0
	s.cutPut = max(s.cutPut-1, 0)
	s.mu.Unlock()
	if cut {
		_, _ = io.CopyN(io.Discard, r.Body, 1000)
		panic(http.ErrAbortHandler)
	}
	b, err := io.ReadAll(r.Body)
	if err != nil {
		s.t.Logf("read the upload: %v", err)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.uploaded = b
	w.Header().Set("ETag", `"x"`)
}

// addFile makes content an artifact of the job.
func (s *server) addFile(name string, content []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sum := sha256.Sum256(content)
	s.files[name] = content
	s.job.Artifacts = append(s.job.Artifacts, jobdoc.Artifact{
		Name: name, MediaType: "audio/wav", Bytes: int64(len(content)), SHA256: hex.EncodeToString(sum[:]), AudioSeconds: 61.5,
	})
}
