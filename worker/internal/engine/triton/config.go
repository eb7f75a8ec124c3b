package triton

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Config configures an [Engine].
type Config struct {
	Backends     []string         // host:port of the gRPC service; grpcs://host:port with TLS
	Model        string           // 0: cosyvoice3
	Voices       map[string]Voice // by public name
	Instructions bool             // the model takes them, before the transcript, with each request
	Default      string           // voice of a request without voice and language; empty: the first by name

	BackendRate  int // Hz that the model speaks at; the protocol does not say. 0: 24000
	Window       int // requests in flight for each backend; 0: 10, the official runtime's instances
	MaxBatch     int // 0: 1
	MaxTextBytes int // 0: 1024
	// MaxTokens is where the model stops, 25 for each second; 0: 750.
	MaxTokens int

	ConnectTimeout time.Duration // 0: 5 s
	MinTimeout     time.Duration // 0: 15 s
	TimeoutFactor  float64       // time for an answer, in predicted lengths of its audio; 0: 6
}

// Voice is a recording that the model speaks like.
type Voice struct {
	RefAudio string // path of a WAV file of 1 to 30 s
	RefText  string // exactly what is said in it
	Language string // BCP 47; empty: any
}

const (
	defaultModel  = "cosyvoice3"
	defaultRate   = 24000
	defaultWindow = 10
	defaultText   = 1024
	defaultTokens = 750
	maxBackends   = 256
	maxWindow     = 1024
	maxTokens     = 1 << 14 // 11 minutes

	// tokensPerSecond is CosyVoice3's rate of speech tokens.
	tokensPerSecond = 25
)

func (c Config) withDefaults() Config {
	c.Model = cmp.Or(c.Model, defaultModel)
	c.BackendRate = cmp.Or(c.BackendRate, defaultRate)
	c.Window = cmp.Or(c.Window, defaultWindow)
	c.MaxBatch = cmp.Or(c.MaxBatch, 1)
	c.MaxTextBytes = cmp.Or(c.MaxTextBytes, defaultText)
	c.MaxTokens = cmp.Or(c.MaxTokens, defaultTokens)
	c.ConnectTimeout = cmp.Or(c.ConnectTimeout, 5*time.Second)
	c.MinTimeout = cmp.Or(c.MinTimeout, 15*time.Second)
	c.TimeoutFactor = cmp.Or(c.TimeoutFactor, 6)
	if c.Default == "" && len(c.Voices) > 0 {
		c.Default = slices.Min(slices.Collect(maps.Keys(c.Voices)))
	}
	return c
}

// limitSeconds is the longest speech that the model makes of one text.
func (c Config) limitSeconds() float64 { return float64(c.MaxTokens) / tokensPerSecond }

// maxSamples is the most that an answer to one text may have.
func (c Config) maxSamples() int { return int((c.limitSeconds() + 1) * float64(c.BackendRate)) }

func (c Config) validate() error {
	var errs []error
	fault := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if len(c.Backends) == 0 || len(c.Backends) > maxBackends {
		fault("%d backends; want 1 to %d", len(c.Backends), maxBackends)
	}
	for i, b := range c.Backends {
		if _, err := parseAddress(b); err != nil {
			fault("backend %d: %w", i+1, err)
		}
	}
	if len(c.Voices) == 0 {
		fault("no voices")
	} else if _, ok := c.Voices[c.Default]; !ok {
		fault("default voice is %q, which is not among the voices", c.Default)
	}
	for _, name := range slices.Sorted(maps.Keys(c.Voices)) {
		if v := c.Voices[name]; v.RefAudio == "" || strings.TrimSpace(v.RefText) == "" {
			fault("voice %q: needs reference audio and the text that is said in it", name)
		}
	}
	if c.BackendRate < 1 || c.Window < 1 || c.Window > maxWindow || c.MaxBatch < 1 || c.MaxTextBytes < 1 || c.MaxTokens < tokensPerSecond || c.MaxTokens > maxTokens {
		fault("rate %d, window %d, max batch %d, max text bytes %d, max tokens %d; want at least 1 each, a window of at most %d, and %d to %d tokens",
			c.BackendRate, c.Window, c.MaxBatch, c.MaxTextBytes, c.MaxTokens, maxWindow, tokensPerSecond, maxTokens)
	}
	if c.ConnectTimeout <= 0 || c.MinTimeout <= 0 || !(c.TimeoutFactor >= 1) {
		fault("connect timeout %s, min timeout %s, timeout factor %g; want more than 0, and a factor of at least 1", c.ConnectTimeout, c.MinTimeout, c.TimeoutFactor)
	}
	return errors.Join(errs...)
}

// address is where a backend listens.
type address struct {
	host string // and port
	tls  bool
}

var errAddress = errors.New("not an address such as gpu-1:8001, grpc://gpu-1:8001 or grpcs://gpu-1:8001") // the address is not quoted, it may hold a password

func parseAddress(s string) (address, error) {
	if !strings.Contains(s, "://") {
		s = "grpc://" + s
	}
	u, err := url.Parse(s)
	if err != nil || (u.Scheme != "grpc" && u.Scheme != "grpcs") || u.User != nil || u.Path != "" || u.RawQuery != "" || u.Fragment != "" {
		return address{}, errAddress
	}
	if host, port, err := net.SplitHostPort(u.Host); err != nil || host == "" || port == "" {
		return address{}, errAddress
	}
	return address{host: u.Host, tls: u.Scheme == "grpcs"}, nil
}
