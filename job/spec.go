package job

import (
	"encoding/json"
	"slices"
	"time"
	"unicode/utf8"
)

// Spec is what a client asks for, as it is sent to POST /v1/jobs. Exactly one
// member of Input is set. The zero value of every other field means the
// default; [Spec.Normalize] writes the defaults in, [Spec.Faults] finds what is wrong.
type Spec struct {
	Input        Input             `json:"input"`
	Voice        string            `json:"voice,omitempty"`
	Language     string            `json:"language,omitempty"` // BCP 47; empty: what the document says, else "en"
	Speed        float64           `json:"speed,omitempty"`    // 0.5 to 2.0; 1.0 is the voice's own pace
	Seed         int64             `json:"seed,omitempty"`
	Instructions string            `json:"instructions,omitempty"` // how to speak, in words for the model; at most MaxInstructions characters
	Class        Class             `json:"class,omitempty"`
	Priority     int               `json:"priority,omitempty"` // -10 to 10, among the tenant's own jobs only
	Deadline     *time.Time        `json:"deadline,omitempty"`
	Output       Output            `json:"output,omitzero"`
	OnFailure    OnFailure         `json:"on_failure,omitempty"`
	Verify       Verify            `json:"verify,omitempty"`
	OnDoubt      OnDoubt           `json:"on_doubt,omitempty"`
	Callback     *Callback         `json:"callback,omitempty"`
	Labels       map[string]string `json:"labels,omitempty"`
}

// Input is the text to speak: inline, as separate segments, or an upload.
type Input struct {
	Text     string         `json:"text,omitempty"`
	Segments []InputSegment `json:"segments,omitempty"`
	Upload   string         `json:"upload,omitempty"`     // an id from POST /v1/uploads
	Media    string         `json:"media_type,omitempty"` // of Text or Upload; default text/plain
}

// InputSegment is one segment that the client cut itself.
type InputSegment struct {
	Text         string `json:"text"`
	Voice        string `json:"voice,omitempty"`        // default: the job's voice
	Instructions string `json:"instructions,omitempty"` // default: the job's
}

// MaxInstructions bounds instructions, in characters.
const MaxInstructions = 1000

// Output says what the finished audio looks like.
type Output struct {
	Formats   []string  `json:"formats,omitempty"`   // default ["wav"]
	Subtitles []string  `json:"subtitles,omitempty"` // default: none
	Pauses    *Pauses   `json:"pauses,omitempty"`
	Metadata  *Metadata `json:"metadata,omitempty"`
	Loudness  string    `json:"loudness,omitempty"`   // one of Loudnesses; default none
	ReadAlong bool      `json:"read_along,omitempty"` // an EPUB that reads along is made, too
	DeliverTo string    `json:"deliver_to,omitempty"` // id of a bucket of the owner's that the files are copied to; default: none
	Path      string    `json:"path,omitempty"`       // where in it, see ParsePath; default DefaultPath
}

// Implied returns the format that has to be made besides because something else is
// made of it, or "": the book that reads along is made of the chapters' M4B or MP3.
func (o *Output) Implied() string {
	if !o.ReadAlong || slices.Contains(o.Formats, FormatM4B) || slices.Contains(o.Formats, FormatMP3) {
		return ""
	}
	return FormatMP3
}

// Pauses are the silences put between segments, in seconds, 0 to 10 each.
type Pauses struct {
	Sentence  float64 `json:"sentence"`
	Paragraph float64 `json:"paragraph"`
	Chapter   float64 `json:"chapter"`
}

// DefaultPauses are the silences used when a request names none.
func DefaultPauses() Pauses { return Pauses{Sentence: 0.35, Paragraph: 0.7, Chapter: 1.5} }

// UnmarshalJSON starts from the defaults, so that a request may name one pause only.
func (p *Pauses) UnmarshalJSON(b []byte) error {
	type plain Pauses
	d := plain(DefaultPauses())
	if err := json.Unmarshal(b, &d); err != nil {
		return err
	}
	*p = Pauses(d)
	return nil
}

// OnFailure says what becomes of a job some of whose segments failed.
type OnFailure string

// The choices of OnFailure.
const (
	FailJob      OnFailure = "fail"    // the job fails and names the segments
	AllowPartial OnFailure = "partial" // the job ends partial: the rest is delivered
)

// Callback asks for signed events over HTTP.
type Callback struct {
	URL    string   `json:"url"`
	Events []string `json:"events,omitempty"` // default: those that end something
}

// The events a callback may name.
const (
	EventStarted      = "job.started"
	EventChapterReady = "chapter.ready"
	EventSucceeded    = "job.succeeded"
	EventPartial      = "job.partial"
	EventFailed       = "job.failed"
	EventCancelled    = "job.cancelled"

	EventDelivered      = "job.delivered"       // the files are in the owner's bucket
	EventDeliveryFailed = "job.delivery_failed" // they will not be, unless it is asked for again
)

// Events lists every event; a callback gets those by default that end something.
func Events() []string {
	return []string{EventStarted, EventChapterReady, EventSucceeded, EventPartial, EventFailed, EventCancelled, EventDelivered, EventDeliveryFailed}
}

// FinalEvent returns the event that tells of a job ending in s, or "" if s is not final.
func FinalEvent(s State) string {
	if !s.Final() {
		return ""
	}
	return "job." + string(s)
}

// Wants reports whether the callback asks for event.
func (c *Callback) Wants(event string) bool {
	if c == nil {
		return false
	}
	if len(c.Events) == 0 {
		return event != EventStarted && event != EventChapterReady
	}
	return slices.Contains(c.Events, event)
}

// Media types of a manuscript.
const (
	MediaEPUB     = "application/epub+zip"
	MediaMarkdown = "text/markdown"
	MediaHTML     = "text/html"
	MediaXHTML    = "application/xhtml+xml"
	MediaText     = "text/plain"
)

// MediaTypes lists the media types that a manuscript may have.
func MediaTypes() []string {
	return []string{MediaEPUB, MediaMarkdown, MediaHTML, MediaXHTML, MediaText}
}

// The media types that a cover may have.
const (
	MediaJPEG = "image/jpeg"
	MediaPNG  = "image/png"
)

// CoverTypes lists the media types that a cover may have.
func CoverTypes() []string { return []string{MediaJPEG, MediaPNG} }

// MaxCoverBytes bounds a cover.
const MaxCoverBytes = 4 << 20

// The audio formats. All but WAV are encoded from it; M4B is the whole book.
const (
	FormatWAV  = "wav"
	FormatM4B  = "m4b"
	FormatMP3  = "mp3"
	FormatOpus = "opus"
	FormatFLAC = "flac"
)

// Encodes reports whether o asks for files beside WAV.
func (o *Output) Encodes() bool {
	return slices.ContainsFunc(o.Formats, func(f string) bool { return f != FormatWAV })
}

// Formats lists the audio formats that a job may ask for.
func Formats() []string { return []string{FormatWAV, FormatM4B, FormatMP3, FormatOpus, FormatFLAC} }

// The formats of subtitles.
const (
	SubtitlesVTT = "vtt"
	SubtitlesSRT = "srt"
	SubtitlesASS = "ass"
)

// Subtitles lists the formats of subtitles that a job may ask for.
func Subtitles() []string { return []string{SubtitlesVTT, SubtitlesSRT, SubtitlesASS} }

// Normalize writes the defaults into the fields that the client left out.
func (s *Spec) Normalize() {
	if s.Speed == 0 {
		s.Speed = 1
	}
	if s.Class == "" {
		s.Class = Bulk
	}
	if s.OnFailure == "" {
		s.OnFailure = FailJob
	}
	if s.Verify == "" {
		s.Verify = VerifyNone
	}
	if s.OnDoubt == "" {
		s.OnDoubt = RetryDoubtful
	}
	if len(s.Output.Formats) == 0 {
		s.Output.Formats = []string{FormatWAV}
	}
	if implied := s.Output.Implied(); implied != "" {
		s.Output.Formats = append(s.Output.Formats, implied)
	}
	if s.Output.Pauses == nil {
		p := DefaultPauses()
		s.Output.Pauses = &p
	}
	if s.Input.Media == "" && s.Input.Segments == nil {
		s.Input.Media = MediaText
	}
}

// Characters returns how many characters of text s brings along; those of an
// upload are not known before it is read.
func (s *Spec) Characters() int64 {
	n := utf8.RuneCountInString(s.Input.Text)
	for i := range s.Input.Segments {
		n += utf8.RuneCountInString(s.Input.Segments[i].Text)
	}
	return int64(n)
}
