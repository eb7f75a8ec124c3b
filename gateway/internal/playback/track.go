package playback

import (
	"context"
	"io"

	"github.com/voicemill/voicemill/job"
)

// Track is where a job is, and the next of its segments.
type Track struct {
	Version     int64     // 0 while the scheduler has not written the job
	State       job.State // of the job
	Total       int       // segments of the job; 0 until it is planned
	Pauses      job.Pauses
	ErrorKind   job.Kind // of a job that has failed
	ErrorDetail string
	Segments    []Segment // in reading order
}

// Segment is one segment and where its audio is.
type Segment struct {
	N, Chapter  int
	State       job.SegmentState
	BreakAfter  string // none, sentence, paragraph or chapter
	ErrorDetail string // of a segment that has failed

	ObjectKey  string // a WAV file, mono and 16-bit; empty while there is none
	SampleRate int    // hertz
	Samples    int64
	Bytes      int64 // of the file
}

// Store reads the rows of a job.
type Store interface {
	// Track returns at most limit segments after number after in one snapshot with
	// the job. A job that has no row yet is accepted, with nothing else known.
	Track(ctx context.Context, tenant job.Tenant, id job.ID, after, limit int) (Track, error)
}

// Bucket holds the audio.
type Bucket interface {
	// Open reads an object from offset on and tells the size of the whole. The
	// caller closes the body; ctx bounds reading it. NotFound if there is no such object.
	Open(ctx context.Context, key string, offset int64) (body io.ReadCloser, size int64, err error)
}
