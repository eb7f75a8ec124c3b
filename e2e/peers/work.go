package peers

import (
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"os"
	"sync/atomic"
	"time"
)

// Key is the API key that the load generator sends.
const Key = "vm_benchmark0000000000000000000"

// The sizes of the answers, in bytes.
const (
	DownloadBytes = 256 << 10
)

// Job is the status document that a GET is answered with, 640 bytes as the
// gateway's own documents of a running job have.
var Job = []byte(`{"id":"job_06abcdefghjkmnpqrstvwxyz0123456789abcd","state":"running","version":42,"class":"bulk",` +
	`"labels":{"book":"benchmark"},"title":"A Book","language":"en","progress":{"segments":{"total":812,"done":400,` +
	`"reused":120,"failed":0},"chapters":{"total":2,"ready":1},"audio_seconds":14400.5,"fraction":0.493},"chapters":[` +
	`{"ordinal":1,"title":"One","state":"ready","audio_seconds":1203.4,"artifact":"chapter-001.wav"},` +
	`{"ordinal":2,"title":"Two","state":"pending"}],"artifacts":[],"usage":{"characters":123456,"audio_seconds":14400.5,` +
	`"gpu_seconds":720.1,"reused_seconds":1800},"created_at":"2026-11-22T12:00:00.000Z","started_at":"2026-11-22T12:00:01.000Z"}`)

// Accepted is the answer to a POST.
var Accepted = []byte(`{"id":"job_06abcdefghjkmnpqrstvwxyz0123456789abcd","state":"accepted","version":0}`)

// Keys knows one key, by its hash, as the gateway's cache does.
type Keys struct {
	byHash map[[32]byte]entry
	Uses   atomic.Int64
}

type entry struct {
	hash   [32]byte
	tenant string
}

// NewKeys returns Keys that know [Key].
func NewKeys() *Keys {
	h := sha256.Sum256([]byte(Key))
	return &Keys{byHash: map[[32]byte]entry{h: {hash: h, tenant: "default"}}}
}

// Check reports whether the value of an Authorization header is right.
func (k *Keys) Check(authorization []byte) bool {
	secret, ok := bytes.CutPrefix(authorization, []byte("Bearer "))
	if !ok {
		return false
	}
	h := sha256.Sum256(secret)
	e, ok := k.byHash[h]
	if !ok || subtle.ConstantTimeCompare(e.hash[:], h[:]) != 1 {
		return false
	}
	k.Uses.Add(1)
	return true
}

// Submission is the body of a POST.
type Submission struct {
	Input struct {
		Text string `json:"text"`
	} `json:"input"`
	Voice  string            `json:"voice"`
	Labels map[string]string `json:"labels"`
}

// Submit parses and checks a body, strictly.
func Submit(body []byte) error {
	var s Submission
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(&s); err != nil {
		return err
	}
	if s.Input.Text == "" {
		return errors.New("there is nothing to speak")
	}
	return nil
}

// Load returns the document that a GET is answered with: that of the gateway
// under test, if its file is given, so that everybody sends the same bytes.
func Load(file string) ([]byte, error) {
	if file == "" {
		return Job, nil
	}
	return os.ReadFile(file)
}

// LogRate is how many requests a second have a line in the access log, as in the
// gateway's.
const LogRate = 1000

// Log is an access log.
type Log struct {
	log            *slog.Logger
	second, passed atomic.Int64
}

// NewLog returns a log that writes JSON to w.
func NewLog(w io.Writer) *Log { return &Log{log: slog.New(slog.NewJSONHandler(w, nil))} }

// Wants reports whether a request that ends now has a line.
func (l *Log) Wants(now time.Time) bool {
	second := now.Unix()
	if was := l.second.Load(); was != second && l.second.CompareAndSwap(was, second) {
		l.passed.Store(0)
	}
	return l.passed.Load() < LogRate && l.passed.Add(1) <= LogRate
}

// Line is what the log says of one request.
type Line struct {
	Method, Path, Remote, Agent string
	Status, BytesIn, BytesOut   int
	Took                        time.Duration
}

// Write writes the line of a request.
func (l *Log) Write(e *Line) {
	l.log.Info("request", slog.String("method", e.Method), slog.String("path", e.Path), slog.Int("status", e.Status),
		slog.Duration("duration", e.Took), slog.Int("bytes_in", e.BytesIn), slog.Int("bytes_out", e.BytesOut),
		slog.String("tenant", "default"), slog.String("remote", e.Remote), slog.String("user_agent", e.Agent))
}

// Download is the answer to a GET of an artifact.
func Download() []byte {
	b := make([]byte, DownloadBytes)
	seed := sha256.Sum256([]byte("download"))
	for i := 0; i < len(b); i += hex.EncodedLen(len(seed)) {
		hex.Encode(b[i:], seed[:])
		seed = sha256.Sum256(seed[:])
	}
	return b
}
