package bus

import (
	"encoding/json"
	"fmt"
	"regexp"
	"time"

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

// Work asks for the synthesis of one segment.
type Work struct {
	JobID            job.ID          `json:"job_id"`
	N                int             `json:"n"` // of the segment, from 1
	Chapter          int             `json:"chapter"`
	Attempt          int             `json:"attempt"` // from 1; the fence of every write
	Tenant           job.Tenant      `json:"tenant"`
	Pool             string          `json:"pool"`
	Voice            string          `json:"voice"`
	Language         string          `json:"language"`
	Text             string          `json:"text"`
	Speed            float64         `json:"speed"`
	Seed             int64           `json:"seed"`
	PredictedSeconds float64         `json:"predicted_seconds"`
	RenditionKey     string          `json:"rendition_key"`
	Pronunciations   json.RawMessage `json:"pronunciations,omitempty"`
	SampleRate       int             `json:"sample_rate"` // hertz
	Class            job.Class       `json:"class"`
	Solo             bool            `json:"solo,omitempty"` // must be alone in its batch
}

// Assembly asks for the joining of one chapter, or of the job when Ordinal is 0.
type Assembly struct {
	JobID   job.ID `json:"job_id"`
	Ordinal int    `json:"ordinal"`
	Attempt int    `json:"attempt"`
}

var (
	poolName = regexp.MustCompile(`^[a-z0-9_-]{1,32}$`)
	idToken  = regexp.MustCompile(`^[A-Za-z0-9_-]{1,128}$`) // one subject token

)

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

func (w Work) validate() error {
	switch {
	case !idToken.MatchString(string(w.JobID)):
		return fmt.Errorf("job id %q cannot be part of a subject", w.JobID)
	case !poolName.MatchString(w.Pool):
		return fmt.Errorf("pool %q is not a name", w.Pool)
	case w.Class != job.Interactive && w.Class != job.Bulk:
		return fmt.Errorf("class %q is unknown", w.Class)
	case w.N < 1 || w.Attempt < 1:
		return fmt.Errorf("segment %d, attempt %d: both count from 1", w.N, w.Attempt)
	}
	return nil
}

func (a Assembly) validate() error {
	switch {
	case !idToken.MatchString(string(a.JobID)):
		return fmt.Errorf("job id %q cannot be part of a subject", a.JobID)
	case a.Ordinal < 0 || a.Attempt < 0:
		return fmt.Errorf("chapter %d, attempt %d: neither may be negative", a.Ordinal, a.Attempt)
	}
	return nil
}

func (w Work) subject() string {
	return fmt.Sprintf("%s.%s.%s.%s-%d", workPrefix, w.Pool, w.Class, w.JobID, w.N)
}

func (a Assembly) subject() string {
	return fmt.Sprintf("%s.%s-%d", assemblePrefix, a.JobID, a.Ordinal)
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
