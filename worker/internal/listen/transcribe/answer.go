package transcribe

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"strings"
	"time"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/worker/internal/engine"
	"github.com/voicemill/voicemill/worker/internal/engine/refusal"
	"github.com/voicemill/voicemill/worker/internal/listen"
)

const (
	maxErrorBody = 8 << 10
	maxAnswer    = 4 << 20 // what an hour of speech has several times
)

// errNoAnswer is why a 200 that came whole is no answer.
var errNoAnswer = errors.New("not a transcription")

// statusError is an answer other than 200.
type statusError struct {
	status  int
	message string        // of the server, cleaned
	after   time.Duration // Retry-After, 0 if there was none
}

func (e *statusError) Error() string {
	if e.message == "" {
		return fmt.Sprintf("status %d", e.status)
	}
	return fmt.Sprintf("status %d: %s", e.status, e.message)
}

func (e *statusError) kind() job.Kind {
	switch {
	case e.status == http.StatusTooManyRequests || e.status == http.StatusServiceUnavailable:
		return job.Overloaded
	case e.status >= 400 && e.status < 500 && e.status != http.StatusRequestTimeout:
		return job.Invalid
	}
	return job.Engine
}

// parse reads an answer. It does not close the body.
func (c Config) parse(resp *http.Response, now time.Time) (Transcript, error) {
	if resp.StatusCode != http.StatusOK {
		body, _ := io.ReadAll(io.LimitReader(resp.Body, maxErrorBody)) // what came is enough
		message := refusal.Message(body)
		if key := c.APIKey.Reveal(); key != "" {
			message = strings.ReplaceAll(message, key, c.APIKey.String())
		}
		return Transcript{}, &statusError{resp.StatusCode, engine.Words(message), refusal.After(resp.Header.Get("Retry-After"), now)}
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return Transcript{}, err
	}
	return read(body)
}

// read understands verbose_json with and without words, and plain json.
func read(body []byte) (Transcript, error) {
	if len(body) > maxAnswer {
		return Transcript{}, fmt.Errorf("%w: longer than %d bytes", errNoAnswer, maxAnswer)
	}
	var answer struct {
		Text  *string `json:"text"`
		Words []struct {
			Word  string  `json:"word"`
			Start float64 `json:"start"`
			End   float64 `json:"end"`
		} `json:"words"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return Transcript{}, fmt.Errorf("%w: %w", errNoAnswer, err)
	}
	if answer.Text == nil {
		return Transcript{}, fmt.Errorf("%w: it has no text", errNoAnswer)
	}
	t := Transcript{Text: *answer.Text}
	for _, w := range answer.Words {
		t.Words = append(t.Words, span(w.Word, w.Start, w.End))
	}
	if len(t.Words) == 0 {
		for w := range strings.FieldsSeq(t.Text) {
			t.Words = append(t.Words, listen.Span{Text: w})
		}
	}
	return t, nil
}

// span keeps times that make sense.
func span(word string, start, end float64) listen.Span {
	s := listen.Span{Text: strings.TrimSpace(word)}
	if start >= 0 && end > start && !math.IsInf(end, 0) {
		s.Start, s.End = start, end
	}
	return s
}
