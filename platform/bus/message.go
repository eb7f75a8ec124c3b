package bus

import (
	"encoding/json"
	"fmt"
	"regexp"
	"time"
	"unicode/utf8"

	"github.com/voicemill/voicemill/job"
)

// Limits of an envelope. A single job that is larger than MaxEnvelopeBytes
// travels alone, in up to MaxMessageBytes.
const (
	MaxEnvelopeJobs  = 512
	MaxEnvelopeBytes = 512 << 10
	MaxMessageBytes  = 1 << 20 // what a NATS server takes by default
)

// AcceptedJob is one job as the gateway accepted it.
type AcceptedJob struct {
	ID          job.ID     `json:"id"`
	Tenant      job.Tenant `json:"tenant"`
	Spec        job.Spec   `json:"spec"`
	AcceptedAt  time.Time  `json:"accepted_at"`
	KeyID       string     `json:"key_id,omitempty"`      // of the API key that handed it in
	SourceKey   string     `json:"source_key,omitempty"`  // object key of the upload, if there is one
	SourceETag  string     `json:"source_etag,omitempty"` // its version when the job was accepted
	RequestID   string     `json:"request_id,omitempty"`
	Traceparent string     `json:"traceparent,omitempty"`
	Tracestate  string     `json:"tracestate,omitempty"`
}

// Envelope is a group of accepted jobs that became durable together. It has 1
// to [MaxEnvelopeJobs] jobs.
type Envelope struct {
	Jobs []AcceptedJob `json:"jobs"`
}

// Limits of a bundle.
const (
	MaxBundleSegments = 16
	BlockSegments     = 64 // the segments of a bundle stand in one block of so many: n-1 divided by it is the same for all
)

// Bundle asks for the synthesis of up to [MaxBundleSegments] segments of one job
// in one pool. It is one message in WORK; what is left of it is in Postgres. It
// is named by the segment that stands first in it.
type Bundle struct {
	JobID        job.ID      `json:"job_id"`
	Job          int64       `json:"job"`              // how Postgres names the job
	Attempt      int         `json:"attempt"`          // from 1; the fence of every write
	Spared       int         `json:"spared,omitempty"` // attempts that are not charged: taken back, or before a command asked anew
	Tenant       job.Tenant  `json:"tenant"`
	Class        job.Class   `json:"class"`
	Pool         string      `json:"pool"`
	Speed        float64     `json:"speed"`
	Seed         int64       `json:"seed"`
	Instructions string      `json:"instructions,omitempty"` // of segments that have none of their own
	Solo         bool        `json:"solo,omitempty"`         // must be alone in its engine call
	Verify       job.Verify  `json:"verify,omitempty"`       // empty counts as none
	OnDoubt      job.OnDoubt `json:"on_doubt,omitempty"`
	Last         bool        `json:"last,omitempty"` // nothing waited behind it in the pool when it went out
	Segments     []Segment   `json:"segments"`
}

// Segment is one segment of a bundle, in the order in which it is to be spoken.
type Segment struct {
	N                int             `json:"n"` // from 1, in reading order over the whole job
	Chapter          int             `json:"chapter"`
	Voice            string          `json:"voice"`
	Language         string          `json:"language"`
	Text             string          `json:"text"`
	Instructions     string          `json:"instructions,omitempty"` // in place of the bundle's
	Pronunciations   json.RawMessage `json:"pronunciations,omitempty"`
	PredictedSeconds float64         `json:"predicted_seconds"`
	SampleRate       int             `json:"sample_rate"`   // hertz
	RenditionKey     string          `json:"rendition_key"` // lower-case hex
}

// Charged returns which attempt this is of those that count.
func (b Bundle) Charged() int { return b.Attempt - b.Spared }

// N returns the number of the segment that names b.
func (b Bundle) N() int { return b.Segments[0].N }

// Assembly asks for the joining of one chapter, or of the job when Ordinal is 0;
// or for the encoding of the one or the other.
type Assembly struct {
	JobID   job.ID    `json:"job_id"`
	Ordinal int       `json:"ordinal"`
	Encode  bool      `json:"encode,omitempty"`
	Attempt int       `json:"attempt"` // from 1: how often it was released
	Class   job.Class `json:"class"`
}

var (
	poolName = regexp.MustCompile(`^[a-z0-9_-]{1,32}$`)
	idToken  = regexp.MustCompile(`^[A-Za-z0-9_-]{1,128}$`) // one subject token
)

// What stands where a pool stands, for the joining and the encoding of chapters
// and jobs. No pool of engines may be called so.
const (
	PoolAssemble = "assemble"
	PoolEncode   = "encode"
)

func validPool(name string) bool {
	return poolName.MatchString(name) && name != PoolAssemble && name != PoolEncode
}

// Pool returns what stands for a pool.
func (a Assembly) Pool() string {
	if a.Encode {
		return PoolEncode
	}
	return PoolAssemble
}

func (e Envelope) validate() error {
	if len(e.Jobs) == 0 || len(e.Jobs) > MaxEnvelopeJobs {
		return fmt.Errorf("envelope has %d jobs; want 1 to %d", len(e.Jobs), MaxEnvelopeJobs)
	}
	for i, j := range e.Jobs {
		if j.ID == "" || j.Tenant == "" || j.AcceptedAt.IsZero() {
			return fmt.Errorf("job %d of the envelope lacks its id, tenant or time of acceptance", i)
		}
	}
	return nil
}

func (b Bundle) validate() error {
	switch {
	case !idToken.MatchString(string(b.JobID)):
		return fmt.Errorf("job id %q cannot be part of a subject", b.JobID)
	case !validPool(b.Pool):
		return fmt.Errorf("pool %q is not a name", b.Pool)
	case b.Class != job.Interactive && b.Class != job.Bulk:
		return fmt.Errorf("class %q is unknown", b.Class)
	case b.Attempt < 1 || b.Job < 1:
		return fmt.Errorf("job %d, attempt %d: both count from 1", b.Job, b.Attempt)
	case b.Spared < 0 || b.Spared >= b.Attempt:
		return fmt.Errorf("%d of %d attempts are not charged; the last always is", b.Spared, b.Attempt)
	case len(b.Segments) < 1 || len(b.Segments) > MaxBundleSegments:
		return fmt.Errorf("bundle has %d segments; want 1 to %d", len(b.Segments), MaxBundleSegments)
	}
	for _, g := range b.Segments {
		if g.N < 1 || (g.N-1)/BlockSegments != (b.N()-1)/BlockSegments {
			return fmt.Errorf("segment %d is not of the block of segment %d", g.N, b.N())
		}
	}
	return nil
}

func (a Assembly) validate() error {
	switch {
	case !idToken.MatchString(string(a.JobID)):
		return fmt.Errorf("job id %q cannot be part of a subject", a.JobID)
	case a.Class != job.Interactive && a.Class != job.Bulk:
		return fmt.Errorf("class %q is unknown", a.Class)
	case a.Ordinal < 0 || a.Attempt < 1:
		return fmt.Errorf("chapter %d, attempt %d: the one counts from 0, the other from 1", a.Ordinal, a.Attempt)
	}
	return nil
}

// subject is work.<pool>.<class>.<job>.<bundle>.<attempt>: at most one message
// for a bundle and attempt (invariant I4).
func (b Bundle) subject() string {
	return fmt.Sprintf("%s.%s.%s.%s.%d.%d", workPrefix, b.Pool, b.Class, b.JobID, b.N(), b.Attempt)
}

func (a Assembly) subject() string {
	return fmt.Sprintf("%s.%s.%s.%s.%d.%d", workPrefix, a.Pool(), a.Class, a.JobID, a.Ordinal, a.Attempt)
}

// message is what travels.
type message interface{ validate() error }

// decode reads exactly one JSON value and checks what every receiver relies on.
func decode[T message](data []byte) (v T, err error) {
	if len(data) > MaxMessageBytes {
		return v, fmt.Errorf("message has %d bytes; want at most %d", len(data), MaxMessageBytes)
	}
	if err := json.Unmarshal(data, &v); err != nil { // refuses trailing bytes too
		return v, err
	}
	return v, v.validate()
}

func encode(v message) ([]byte, error) {
	if err := v.validate(); err != nil {
		return nil, &job.Error{Op: "bus.encode", Kind: job.Invalid, Err: err}
	}
	data, err := json.Marshal(v)
	if err != nil {
		return nil, &job.Error{Op: "bus.encode", Kind: job.Invalid, Err: err}
	}
	return data, nil
}

// Size returns about how many bytes g takes in a message; not fewer.
func (g Segment) Size() int {
	return 256 + len(g.Voice) + len(g.Language) + len(g.RenditionKey) + 2*len(g.Pronunciations) + escaped(g.Text) + escaped(g.Instructions)
}

// escaped returns how many bytes text takes in JSON, without its quotes.
func escaped(text string) (size int) {
	for _, r := range text {
		switch {
		case r < ' ', r == '<', r == '>', r == '&', r == '\u2028', r == '\u2029', r == utf8.RuneError:
			size += 6
		case r == '"', r == '\\':
			size += 2
		default:
			size += utf8.RuneLen(r)
		}
	}
	return size
}
