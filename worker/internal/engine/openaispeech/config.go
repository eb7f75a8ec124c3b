package openaispeech

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/voicemill/voicemill/platform/config"
	"github.com/voicemill/voicemill/platform/wav"
	"github.com/voicemill/voicemill/worker/internal/engine"
)

// Dialect says which extensions of the protocol a backend understands.
type Dialect string

// The dialects.
const (
	Generic    Dialect = "generic"     // OpenAI's own fields only
	VLLMOmni   Dialect = "vllm-omni"   // vLLM-Omni
	SGLangOmni Dialect = "sglang-omni" // SGLang-Omni
)

// Config configures an [Engine].
type Config struct {
	Backends     []string         // base URLs, such as http://gpu-1:8091; /v1/audio/speech is added
	Dialect      Dialect          // empty: Generic
	Model        string           // as the backends call it; may be empty for the omni dialects
	APIKey       config.Secret    // sent as a bearer token; may be empty
	Voices       map[string]Voice // public name to what is sent
	Instructions bool             // the model that the backends serve takes them with each request
	Default      string           // voice of a request without voice and language; empty: the first by name

	BackendRate    int           // Hz that the backends answer with, anything else is a failure; 0: 24000
	Window         int           // requests in flight for each backend; 0: 4
	MaxBatch       int           // 0: 1, since a batch gains nothing
	MaxTextBytes   int           // 0: 1024 for the omni dialects, whose models lose themselves in long texts, else 4096
	MaxAudio       time.Duration // longest audio of one request; 0: 2 min
	ConnectTimeout time.Duration // 0: 5 s
	MinTimeout     time.Duration // 0: 15 s
	TimeoutFactor  float64       // time for an answer, in predicted lengths of its audio; 0: 6
}

// Voice is what a backend is told about a voice. The omni dialects need either
// Name, of a voice that the backend knows, or RefAudio.
type Voice struct {
	Name         string // the backend's name for it
	RefAudio     string // path of a recording of 1 to 30 s: .wav, .mp3, .flac, .ogg
	RefText      string // what is said in it
	Instructions string // how to speak, unless a request says so
	Language     string // BCP 47; empty: any
}

const (
	defaultRate     = 24000
	defaultWindow   = 4
	defaultMaxText  = 4096
	omniMaxText     = 1024
	defaultMaxAudio = 2 * time.Minute
	maxWindow       = 1024
	maxBackends     = 256

	maxRefBytes                  = 10 << 20 // as the servers allow
	minRefSeconds, maxRefSeconds = 1, 30
)

func (c Config) withDefaults() Config {
	c.Dialect = cmp.Or(c.Dialect, Generic)
	c.BackendRate = cmp.Or(c.BackendRate, defaultRate)
	c.Window = cmp.Or(c.Window, defaultWindow)
	c.MaxBatch = cmp.Or(c.MaxBatch, 1)
	if c.MaxTextBytes == 0 {
		c.MaxTextBytes = defaultMaxText
		if c.omni() {
			c.MaxTextBytes = omniMaxText
		}
	}
	c.MaxAudio = cmp.Or(c.MaxAudio, defaultMaxAudio)
	c.ConnectTimeout = cmp.Or(c.ConnectTimeout, 5*time.Second)
	c.MinTimeout = cmp.Or(c.MinTimeout, 15*time.Second)
	c.TimeoutFactor = cmp.Or(c.TimeoutFactor, 6)
	if c.Default == "" && len(c.Voices) > 0 {
		c.Default = slices.Min(slices.Collect(maps.Keys(c.Voices)))
	}
	return c
}

// omni reports whether the backends understand the fields of the two servers.
func (c Config) omni() bool { return c.Dialect != Generic }

func (c Config) validate() error {
	var errs []error
	fault := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if len(c.Backends) == 0 || len(c.Backends) > maxBackends {
		fault("%d backends; want 1 to %d", len(c.Backends), maxBackends)
	}
	for i, b := range c.Backends {
		u, err := url.Parse(b)
		if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
			fault("backend %d is not a plain http or https address", i+1) // not quoted, it may hold a password
		}
	}
	if c.Dialect != Generic && c.Dialect != VLLMOmni && c.Dialect != SGLangOmni {
		fault("dialect is %q; want %s, %s or %s", c.Dialect, Generic, VLLMOmni, SGLangOmni)
	}
	if c.Model == "" && !c.omni() {
		fault("model is empty; dialect %s needs one", c.Dialect)
	}
	if strings.ContainsAny(c.APIKey.Reveal(), "\r\n\x00") {
		fault("API key holds a line break")
	}
	if len(c.Voices) == 0 {
		fault("no voices")
	} else if _, ok := c.Voices[c.Default]; !ok {
		fault("default voice is %q, which is not among the voices", c.Default)
	}
	for _, name := range slices.Sorted(maps.Keys(c.Voices)) {
		if err := c.validateVoice(c.Voices[name]); err != nil {
			fault("voice %q: %w", name, err)
		}
	}
	if c.Window < 1 || c.Window > maxWindow || c.MaxBatch < 1 || c.MaxTextBytes < 1 {
		fault("window %d, max batch %d, max text bytes %d; want at least 1 each, and a window of at most %d", c.Window, c.MaxBatch, c.MaxTextBytes, maxWindow)
	}
	if c.MaxAudio < time.Second || c.ConnectTimeout <= 0 || c.MinTimeout <= 0 || !(c.TimeoutFactor >= 1) {
		fault("max audio %s, connect timeout %s, min timeout %s, timeout factor %g; want at least 1s, more than 0, and a factor of at least 1",
			c.MaxAudio, c.ConnectTimeout, c.MinTimeout, c.TimeoutFactor)
	}
	return errors.Join(errs...)
}

func (c Config) validateVoice(v Voice) error {
	switch {
	case !c.omni() && (v.Name == "" || v.RefAudio != "" || v.RefText != ""):
		return fmt.Errorf("dialect %s needs a name and knows no reference audio", c.Dialect)
	case c.omni() && v.Name == "" && v.RefAudio == "":
		return errors.New("needs a name or reference audio")
	case v.RefText != "" && v.RefAudio == "":
		return errors.New("has a reference text without audio")
	case c.Dialect == VLLMOmni && v.RefAudio != "" && v.RefText == "":
		return errors.New("needs the text of its reference audio, as vllm-omni does")
	case c.Dialect == VLLMOmni && v.RefAudio != "" && v.Instructions != "":
		return errors.New("has instructions beside reference audio, which vllm-omni does not read; put them into the reference text")
	case c.Dialect == SGLangOmni && v.RefText != "" && v.Instructions != "":
		return errors.New("has both a reference text and instructions, which sglang-omni refuses")
	}
	return nil
}

// voice is a Voice made ready to be sent.
type voice struct {
	Voice
	refAudio string // data URL
}

// prepare reads what the voices refer to. The public voices are in the order of
// their names.
func (c Config) prepare() ([]engine.Voice, map[string]voice, error) {
	public := make([]engine.Voice, 0, len(c.Voices))
	ready := make(map[string]voice, len(c.Voices))
	for _, name := range slices.Sorted(maps.Keys(c.Voices)) {
		v := voice{Voice: c.Voices[name]}
		if v.RefAudio != "" {
			var err error
			if v.refAudio, err = dataURL(v.RefAudio); err != nil {
				return nil, nil, fmt.Errorf("voice %q: %w", name, err)
			}
		}
		shape, err := json.Marshal([]string{v.Name, v.refAudio, v.RefText, v.Instructions})
		if err != nil {
			return nil, nil, fmt.Errorf("voice %q: %w", name, err)
		}
		sum := sha256.Sum256(shape)
		public = append(public, engine.Voice{Name: name, Language: v.Language, Fingerprint: hex.EncodeToString(sum[:16]), Instructions: c.Instructions})
		ready[name] = v
	}
	return public, ready, nil
}

// dataURL reads the recording at path.
func dataURL(path string) (string, error) {
	types := map[string]string{".wav": "audio/wav", ".mp3": "audio/mpeg", ".flac": "audio/flac", ".ogg": "audio/ogg"}
	media, ok := types[strings.ToLower(filepath.Ext(path))]
	if !ok {
		return "", fmt.Errorf("reference audio %s: want .wav, .mp3, .flac or .ogg", path)
	}
	info, err := os.Stat(path)
	if err != nil {
		return "", fmt.Errorf("reference audio: %w", err)
	}
	if info.Size() == 0 || info.Size() > maxRefBytes {
		return "", fmt.Errorf("reference audio %s has %d bytes; want 1 to %d", path, info.Size(), maxRefBytes)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("reference audio: %w", err)
	}
	if media == "audio/wav" {
		if err := checkRecording(b); err != nil {
			return "", fmt.Errorf("reference audio %s: %w", path, err)
		}
	}
	return "data:" + media + ";base64," + base64.StdEncoding.EncodeToString(b), nil
}

func checkRecording(b []byte) error {
	rate, samples, err := wav.Decode(bytes.NewReader(b), maxRefBytes)
	if err != nil {
		return err
	}
	if seconds := float64(len(samples)) / float64(rate); seconds < minRefSeconds || seconds > maxRefSeconds {
		return fmt.Errorf("it lasts %.1f s; want %d to %d s", seconds, minRefSeconds, maxRefSeconds)
	}
	return nil
}
