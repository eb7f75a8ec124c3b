package callback

import (
	"encoding/json"
	"fmt"

	"github.com/voicemill/voicemill/api/jobdoc"
	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/scheduler/internal/store"
)

// maxBodyBytes is what the API promises of a body, less room for the frame
// around the document.
const (
	maxBodyBytes     = 20_000
	maxDocumentBytes = maxBodyBytes - 2<<10
)

// Event is the body of a callback.
type Event struct {
	Type      string      `json:"type"`
	Timestamp jobdoc.Time `json:"timestamp"` // when it happened
	Sequence  int         `json:"sequence"`  // of the events of this job: 1, 2, …, in the order in which they happened
	Data      Data        `json:"data"`
}

// Data is the job without its segments; for chapter.ready the chapter that is
// ready stands beside it, whether or not it is in the list.
type Data struct {
	jobdoc.Document
	Chapter *jobdoc.Chapter `json:"chapter,omitempty"`
}

// body returns the bytes to send for a delivery, under 20 KB.
func body(d store.Delivery, doc jobdoc.Document) (string, error) {
	e := Event{Type: d.Event, Timestamp: jobdoc.Time{Time: d.At}, Sequence: d.Sequence}
	if d.Event == job.EventChapterReady {
		for i := range doc.Chapters {
			if doc.Chapters[i].Ordinal == d.Ordinal {
				ch := doc.Chapters[i]
				e.Data.Chapter = &ch
			}
		}
	}
	e.Data.Document = doc.Brief(maxDocumentBytes)
	raw, err := json.Marshal(e)
	if err != nil {
		return "", fmt.Errorf("encode the callback %s: %w", d.ID, err)
	}
	return string(raw), nil
}
