package openaispeech

import (
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/voicemill/voicemill/platform/wav"
	"github.com/voicemill/voicemill/worker/internal/engine"
	"github.com/voicemill/voicemill/worker/internal/engine/refusal"
)

const (
	maxErrorBody = 8 << 10

	// The audio may be this much shorter than its tokens: models trim silence.
	tokenSlackSeconds = 0.4
	tokenSlackShare   = 0.1

	maxDrainBytes = 64 << 10
)

// errNoAnswer is why a 200 that came whole is no answer.
var errNoAnswer = engine.ErrNoAnswer

var (
	errContentType = fmt.Errorf("%w: the answer is not WAV audio", errNoAnswer)
	errRate        = fmt.Errorf("%w: the answer has another sample rate", errNoAnswer)
	errTruncated   = fmt.Errorf("%w: the answer is shorter than the tokens that were made", errNoAnswer)
	errLimit       = fmt.Errorf("%w: the model did not find its end", errNoAnswer)
)

// statusError is an answer other than 200.
type statusError struct {
	status  int
	message string        // of the server, cleaned
	after   time.Duration // Retry-After, 0 if there was none
}

func (e *statusError) Error() string {
	text := fmt.Sprintf("status %d", e.status)
	if e.message != "" {
		text += ": " + e.message
	}
	return text
}

// parse reads the answer to r, for which at most maxTokens were allowed (0 if
// that was not said), into samples at c.BackendRate. It does not close the body.
func (c Config) parse(resp *http.Response, r *engine.Request, maxTokens int, now time.Time) ([]int16, error) {
	if resp.StatusCode != http.StatusOK {
		return nil, c.refusal(resp, now)
	}
	if media := resp.Header.Get("Content-Type"); !isWAV(media) {
		return nil, fmt.Errorf("content type %.100q: %w", media, errContentType)
	}
	rate, samples, err := wav.Decode(resp.Body, int(c.MaxAudio.Seconds()*float64(c.BackendRate)))
	if errors.Is(err, wav.ErrFormat) || errors.Is(err, wav.ErrTooLong) {
		return nil, fmt.Errorf("%w: %w", errNoAnswer, err)
	}
	if err != nil {
		return nil, err
	}
	_, _ = io.CopyN(io.Discard, resp.Body, maxDrainBytes) // so that the connection can be used again
	if rate != c.BackendRate {
		return nil, fmt.Errorf("%d Hz where %d were expected: %w", rate, c.BackendRate, errRate)
	}
	seconds := float64(len(samples)) / float64(rate)
	return samples, checkTokens(resp.Header, seconds*r.Pace(), maxTokens)
}

// checkTokens compares seconds of audio, at normal speed, with what the server
// says about the tokens it made.
func checkTokens(h http.Header, seconds float64, maxTokens int) error {
	if reason := h.Get("X-Finish-Reason"); reason == "length" {
		return fmt.Errorf("finish reason %s: %w", reason, errLimit)
	}
	for _, name := range []string{"X-Vllm-Omni-Output-Tokens", "X-Completion-Tokens"} {
		tokens, err := strconv.Atoi(h.Get(name))
		if err != nil || tokens <= 0 {
			continue // a server that does not count
		}
		if maxTokens > 0 && tokens >= maxTokens {
			return fmt.Errorf("%d tokens of at most %d: %w", tokens, maxTokens, errLimit)
		}
		if want := float64(tokens) / tokensPerSecond; seconds < want*(1-tokenSlackShare)-tokenSlackSeconds {
			return fmt.Errorf("%.2f s for %d tokens, which are %.2f s: %w", seconds, tokens, want, errTruncated)
		}
	}
	return nil
}

func isWAV(contentType string) bool {
	media, _, err := mime.ParseMediaType(contentType)
	if err != nil {
		return false
	}
	switch media {
	case "audio/wav", "audio/x-wav", "audio/wave", "audio/vnd.wave", "application/octet-stream":
		return true
	}
	return false
}

// refusal reads an answer other than 200.
func (c Config) refusal(resp *http.Response, now time.Time) *statusError {
	body, _ := io.ReadAll(io.LimitReader(resp.Body, maxErrorBody)) // what came is enough
	return &statusError{
		status:  resp.StatusCode,
		message: c.clean(refusal.Message(body)),
		after:   refusal.After(resp.Header.Get("Retry-After"), now),
	}
}

// clean makes a server's words fit for a log, without the API key.
func (c Config) clean(text string) string {
	if key := c.APIKey.Reveal(); key != "" {
		text = strings.ReplaceAll(text, key, c.APIKey.String())
	}
	return engine.Words(text)
}
