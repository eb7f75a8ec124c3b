package transcribe

import (
	"cmp"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/voicemill/voicemill/platform/config"
)

// Config configures an [Ear].
type Config struct {
	Backend        string        // base URL, such as http://127.0.0.1:8095; /v1/audio/transcriptions is added
	Model          string        // as the server calls it; empty: whisper-1
	APIKey         config.Secret // sent as a bearer token; may be empty
	Window         int           // requests at once, further ones wait; 0: 2
	MaxAudio       time.Duration // longest audio of one request; 0: 2 min
	ConnectTimeout time.Duration // 0: 5 s
	MinTimeout     time.Duration // 0: 30 s, since a server may have to load its model
	TimeoutFactor  float64       // time for an answer, in lengths of the audio; 0: 10
}

func (c Config) withDefaults() Config {
	c.Model = cmp.Or(c.Model, "whisper-1")
	c.Window = cmp.Or(c.Window, 2)
	c.MaxAudio = cmp.Or(c.MaxAudio, 2*time.Minute)
	c.ConnectTimeout = cmp.Or(c.ConnectTimeout, 5*time.Second)
	c.MinTimeout = cmp.Or(c.MinTimeout, 30*time.Second)
	c.TimeoutFactor = cmp.Or(c.TimeoutFactor, 10)
	return c
}

// Validate reports what makes no sense, of a Config whose zero values stand for defaults.
func (c Config) Validate() error {
	c = c.withDefaults()
	var errs []error
	fault := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	u, err := url.Parse(c.Backend)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		fault("the backend is not a plain http or https address") // not quoted, it may hold a password
	}
	if strings.ContainsAny(c.APIKey.Reveal(), "\r\n\x00") {
		fault("the API key holds a line break")
	}
	if c.Window < 1 || c.Window > maxWindow {
		fault("window is %d; want 1 to %d", c.Window, maxWindow)
	}
	if c.MaxAudio < time.Second || c.ConnectTimeout <= 0 || c.MinTimeout <= 0 || !(c.TimeoutFactor >= 1) {
		fault("max audio %s, connect timeout %s, min timeout %s, timeout factor %g; want at least 1s, more than 0, and a factor of at least 1",
			c.MaxAudio, c.ConnectTimeout, c.MinTimeout, c.TimeoutFactor)
	}
	return errors.Join(errs...)
}

const maxWindow = 1024
