package job

// Verify says which segments of a job are heard back by speech recognition.
type Verify string

// The choices of Verify.
const (
	VerifyNone   Verify = "none"
	VerifySample Verify = "sample" // what looks odd, and a share of the rest
	VerifyAll    Verify = "all"    // what is reused without having been heard included
)

// OnDoubt says what becomes of a segment in which other words were heard than were
// written. It is delivered in the end, whatever is heard: doubt is no failure.
type OnDoubt string

// The choices of OnDoubt.
const (
	RetryDoubtful   OnDoubt = "retry"   // it is spoken again, and the best try is kept
	DeliverDoubtful OnDoubt = "deliver" // it is kept as it is
)

func (s *Spec) verifyFaults(f *Faults) {
	if v := s.Verify; v != "" && v != VerifyNone && v != VerifySample && v != VerifyAll {
		f.add("/verify", "must be none, sample or all, is %q", v)
	}
	if d := s.OnDoubt; d != "" && d != RetryDoubtful && d != DeliverDoubtful {
		f.add("/on_doubt", "must be retry or deliver, is %q", d)
	}
}

// Hearing is what a recogniser made of a segment's audio. It is kept with the rendition.
type Hearing struct {
	Kind   string `json:"kind,omitempty"` // of the doubt: missing, extra, repeated or other; empty: none
	Why    string `json:"why,omitempty"`  // the figure that condemned it
	Words  int    `json:"words"`          // of the text, as they were compared
	Errors int    `json:"errors"`         // words that are missing, extra or other
	Heard  string `json:"heard"`          // all of it, up to [MaxHeard] bytes
	Tries  int    `json:"tries"`          // how often it was spoken until it was kept
}

// MaxHeard bounds what is kept of what was heard, in bytes of UTF-8.
const MaxHeard = 1024

// Quality is what was proved of a finished job by hearing its audio.
type Quality struct {
	Verify        Verify  `json:"verify"`
	Segments      int     `json:"segments"` // with audio
	Heard         int     `json:"heard"`    // of these
	HeardShare    float64 `json:"heard_share"`
	Redone        int     `json:"redone"` // spoken more than once because of what was heard
	Words         int     `json:"words"`  // of the texts of what was heard
	WordErrors    int     `json:"word_errors"`
	WordErrorRate float64 `json:"word_error_rate"` // WordErrors by Words; 0 if nothing was heard
	Doubtful      int     `json:"doubtful"`        // segments that were delivered although other words were heard
	Stretches     []Doubt `json:"stretches"`       // the first of these, [MaxDoubts] at most
}

// MaxDoubts is how many doubtful segments are told; Quality.Doubtful counts all of them.
const MaxDoubts = 50

// Doubt is a segment that was delivered although other words were heard than written.
type Doubt struct {
	Segment      int     `json:"segment"`
	Chapter      int     `json:"chapter"`
	StartSeconds float64 `json:"start_seconds"` // in the file of its chapter
	Kind         string  `json:"kind"`          // missing, extra, repeated or other
	Text         string  `json:"text"`          // up to [MaxDoubtText] bytes, as what follows
	Heard        string  `json:"heard"`
	Tries        int     `json:"tries"`
}

// MaxDoubtText bounds the texts of a [Doubt], in bytes of UTF-8.
const MaxDoubtText = 240

// Count takes in a segment that has audio. h is nil if it was not heard.
func (q *Quality) Count(h *Hearing) {
	q.Segments++
	if h != nil {
		q.Heard++
		q.Words += h.Words
		q.WordErrors += h.Errors
		if h.Tries > 1 {
			q.Redone++
		}
	}
	q.Share()
}

// Share works the shares out from what was counted.
func (q *Quality) Share() {
	q.HeardShare = float64(q.Heard) / float64(max(1, q.Segments))
	q.WordErrorRate = float64(q.WordErrors) / float64(max(1, q.Words))
}

// Doubt takes in a segment that is doubtful; Count has counted it.
func (q *Quality) Doubt(d Doubt) {
	q.Doubtful++
	if len(q.Stretches) < MaxDoubts {
		d.Text, d.Heard = cut(d.Text, MaxDoubtText), cut(d.Heard, MaxDoubtText)
		q.Stretches = append(q.Stretches, d)
	}
}

// Clip returns as much of what was heard as is kept.
func Clip(heard string) string { return cut(heard, MaxHeard) }
