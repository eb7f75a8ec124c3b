package jobdoc

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/voicemill/voicemill/job"
)

// Time is a moment in a document: RFC 3339, UTC, milliseconds.
type Time struct{ time.Time }

const timeLayout = "2006-01-02T15:04:05.000Z07:00"

// MarshalJSON writes t in UTC with exactly three decimals.
func (t Time) MarshalJSON() ([]byte, error) {
	return t.UTC().AppendFormat([]byte(`"`), timeLayout+`"`), nil
}

// UnmarshalJSON reads any RFC 3339 time.
func (t *Time) UnmarshalJSON(b []byte) error {
	if err := t.Time.UnmarshalJSON(b); err != nil {
		return fmt.Errorf("read a time of a job document: %w", err)
	}
	return nil
}

// Document is one job as its owner sees it.
type Document struct {
	ID         job.ID            `json:"id"`
	State      job.State         `json:"state"`
	Version    int64             `json:"version"`         // grows with every change; 0 until the scheduler has the job
	Class      job.Class         `json:"class,omitempty"` // empty while it is not known, as Accepted has it
	Labels     map[string]string `json:"labels,omitzero"` // likewise nil
	Title      string            `json:"title,omitempty"`
	Language   string            `json:"language,omitempty"`
	Progress   Progress          `json:"progress"`
	Chapters   []Chapter         `json:"chapters,omitempty"`
	Artifacts  []Artifact        `json:"artifacts,omitempty"`
	Failures   []Failure         `json:"failures,omitempty"` // at most MaxFailures
	Error      *Error            `json:"error,omitempty"`    // why the job failed
	Waiting    *Waiting          `json:"waiting,omitempty"`  // what keeps an unfinished job from going on
	Quality    *job.Quality      `json:"quality,omitempty"`  // what was proved of a job that has ended by hearing it
	Estimate   *Estimate         `json:"estimate,omitempty"` // what was said first, to be compared with FinishedAt
	Delivery   *Delivery         `json:"delivery,omitempty"` // of the files into a bucket of the owner's, if the job named one and has ended
	Usage      Usage             `json:"usage"`
	CreatedAt  Time              `json:"created_at"`
	StartedAt  *Time             `json:"started_at,omitempty"`
	FinishedAt *Time             `json:"finished_at,omitempty"`
}

// MaxFailures is how many failed segments a document lists; Progress counts all of them.
const MaxFailures = 100

// Progress says how far a job is.
type Progress struct {
	Segments     SegmentCounts `json:"segments"`
	Chapters     ChapterCounts `json:"chapters"`
	AudioSeconds float64       `json:"audio_seconds"` // finished so far
	Fraction     float64       `json:"fraction"`      // 0 to 1, by predicted seconds of audio
	ETA          *Time         `json:"eta,omitempty"` // absent while nothing can be said
	ETALow       *Time         `json:"eta_low,omitempty"`
	ETAHigh      *Time         `json:"eta_high,omitempty"`
}

// SegmentCounts counts segments; Done does not include Reused.
type SegmentCounts struct {
	Total  int `json:"total"`
	Done   int `json:"done"`
	Reused int `json:"reused"`
	Failed int `json:"failed"`
}

// ChapterCounts counts chapters.
type ChapterCounts struct {
	Total int `json:"total"`
	Ready int `json:"ready"`
}

// Chapter is one ordered part with one audio file.
type Chapter struct {
	Ordinal      int              `json:"ordinal"`
	Title        string           `json:"title"`
	State        job.ChapterState `json:"state"`
	AudioSeconds float64          `json:"audio_seconds,omitempty"`
	Artifact     string           `json:"artifact,omitempty"`
	Error        *Error           `json:"error,omitempty"`
}

// Artifact is one finished file; GET /v1/jobs/{id}/artifacts/{name} leads to it.
type Artifact struct {
	Name         string  `json:"name"`
	MediaType    string  `json:"media_type"`
	Bytes        int64   `json:"bytes"`
	SHA256       string  `json:"sha256"` // lower-case hex
	AudioSeconds float64 `json:"audio_seconds,omitempty"`
	// Loudness is there if the job asked for a level and the file was measured.
	Loudness *job.LoudnessReport `json:"loudness,omitempty"`
	// DeliveredTo is its path in the owner's bucket, below the prefix, once it is there.
	DeliveredTo string `json:"delivered_to,omitempty"`
}

// Failure is one segment that was given up.
type Failure struct {
	Segment  int    `json:"segment"`
	Chapter  int    `json:"chapter"`
	Kind     string `json:"kind"`
	Detail   string `json:"detail"`
	Attempts int    `json:"attempts"`
}

// Error says why a job or a chapter failed. Kind is one of package job's kinds.
type Error struct {
	Kind   string `json:"kind"`
	Detail string `json:"detail"`
}

// Estimate is when a job was expected to end, at some moment.
type Estimate struct {
	At      Time `json:"at"`
	ETA     Time `json:"eta"`
	ETALow  Time `json:"eta_low"`
	ETAHigh Time `json:"eta_high"`
}

// Why a job waits, as far as that is no word of a worker's.
const (
	Gone   = "gone"   // no worker of the pool is heard of
	Paused = "paused" // its owner wants it so
	Turn   = "turn"   // others are before it
)

// Waiting says that a pool of engines, which speaks voices of the job, takes no work,
// that the job was paused, or that its turn has not come. Nothing is lost and nothing
// is charged.
type Waiting struct {
	Pool   string `json:"pool"` // empty if the job was paused
	Since  Time   `json:"since"`
	Reason string `json:"reason"` // starting, misconfigured, overloaded, sick, Gone, Paused or Turn
	// Place is how many jobs of the pool and class end until this one does, itself
	// included; 0 unless Reason is Turn.
	Place int `json:"place,omitempty"`
}

// Delivery is how far the files are on their way into a bucket of the owner's. The
// job does not wait for it, and stays as it ended whatever comes of it.
type Delivery struct {
	State   string     `json:"state"` // pending, delivered or failed
	Bucket  string     `json:"bucket"`
	Files   FileCounts `json:"files"`
	Error   *Error     `json:"error,omitempty"` // why it failed, or why the last attempt was in vain
	EndedAt *Time      `json:"ended_at,omitempty"`
}

// FileCounts counts the files of a delivery; Total is 0 until it is known.
type FileCounts struct {
	Total int `json:"total"`
	Done  int `json:"done"`
}

// Usage is what a job has used so far.
type Usage struct {
	Characters    int64   `json:"characters"`
	AudioSeconds  float64 `json:"audio_seconds"`
	GPUSeconds    float64 `json:"gpu_seconds"`
	ReusedSeconds float64 `json:"reused_seconds"`
}

// Accepted returns the document of a job that is durable in JOBS and has no
// row yet: version 0, created at the moment its id was minted. spec is nil for who
// knows the id only.
func Accepted(id job.ID, at time.Time, spec *job.Spec) Document {
	d := Document{ID: id, State: job.StateAccepted, CreatedAt: Time{at}}
	if spec == nil {
		return d
	}
	d.Class, d.Language, d.Labels = spec.Class, spec.Language, spec.Labels
	if d.Labels == nil {
		d.Labels = map[string]string{}
	}
	return d
}

// Brief returns d cut to at most maxBytes of JSON: first its chapters, then its
// failures, then its doubtful stretches, then its artifacts are halved until it fits. Counts stay whole, so
// a reader sees that something was left out. A callback carries a brief document.
func (d Document) Brief(maxBytes int) Document {
	for {
		b, err := json.Marshal(d)
		if err != nil || len(b) <= maxBytes {
			return d
		}
		switch {
		case len(d.Chapters) > 0:
			d.Chapters = d.Chapters[:len(d.Chapters)/2]
		case len(d.Failures) > 0:
			d.Failures = d.Failures[:len(d.Failures)/2]
		case d.Quality != nil && len(d.Quality.Stretches) > 0:
			q := *d.Quality // the document itself stays whole
			q.Stretches = q.Stretches[:len(q.Stretches)/2]
			d.Quality = &q
		case len(d.Artifacts) > 0:
			d.Artifacts = d.Artifacts[:len(d.Artifacts)/2]
		case len(d.Labels) > 0:
			d.Labels = map[string]string{}
		default:
			return d
		}
	}
}

// Event tells a watcher how far a job is. A later one replaces an earlier one.
type Event struct {
	Version  int64     `json:"version"`
	State    job.State `json:"state"` // an event with a final state is the last
	Progress Progress  `json:"progress"`
}

// EventOf returns the event that says what d says.
func EventOf(d *Document) Event {
	return Event{Version: d.Version, State: d.State, Progress: d.Progress}
}
