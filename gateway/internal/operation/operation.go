package operation

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"runtime/debug"
	"sync/atomic"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/voicemill/voicemill/gateway/internal/auth"
	"github.com/voicemill/voicemill/gateway/internal/documents"
	"github.com/voicemill/voicemill/gateway/internal/intake"
	"github.com/voicemill/voicemill/gateway/internal/limit"
	"github.com/voicemill/voicemill/gateway/internal/playback"
	"github.com/voicemill/voicemill/gateway/internal/problem"
	"github.com/voicemill/voicemill/gateway/internal/quota"
	"github.com/voicemill/voicemill/gateway/internal/shed"
	"github.com/voicemill/voicemill/gateway/internal/store"
	"github.com/voicemill/voicemill/gateway/internal/transcode"
	"github.com/voicemill/voicemill/gateway/internal/voices"
	"github.com/voicemill/voicemill/gateway/internal/watch"
	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/blob/foreign"
)

// Config bounds what is done. Start from [DefaultConfig].
type Config struct {
	Limits          job.Limits
	MaxWait         time.Duration // for the first sound of a speech
	Watches         int           // most watches at a time
	KeyWatches      int           // most of one API key
	Heartbeat       time.Duration // a watch without an event shows that often that it lives
	PresignExpiry   time.Duration // how long a link to an artifact works
	Bodies          int           // bodies under way at a time
	CallbackPrivate bool          // callbacks may go to private addresses
	CallbackAllowed []netip.Prefix
	CallbackPorts   []uint16 // callbacks go to these, unless they may go anywhere
	Buckets         foreign.Config
	MaxBuckets      int // of one tenant
}

// DefaultConfig returns the published limits.
func DefaultConfig() Config {
	return Config{
		Limits: job.DefaultLimits(), MaxWait: time.Minute, Watches: 10_000, KeyWatches: 1000, Heartbeat: 15 * time.Second,
		PresignExpiry: 15 * time.Minute, Bodies: 1024, CallbackPorts: job.CallbackPorts(nil), MaxBuckets: 100,
	}
}

func (c Config) validate() error {
	if err := c.Limits.Validate(); err != nil {
		return fmt.Errorf("operation: %w", err)
	}
	switch {
	case c.MaxWait <= 0 || c.PresignExpiry < time.Second:
		return fmt.Errorf("operation: max wait (%s) must be positive and presign expiry (%s) at least a second", c.MaxWait, c.PresignExpiry)
	case c.Watches < 1 || c.KeyWatches < 1 || c.Heartbeat <= 0:
		return fmt.Errorf("operation: watches (%d), watches of a key (%d) and heartbeat (%s) must be positive", c.Watches, c.KeyWatches, c.Heartbeat)
	case c.MaxBuckets < 0:
		return fmt.Errorf("operation: buckets of a tenant are %d; they must not be negative", c.MaxBuckets)
	case c.Bodies < 1:
		return fmt.Errorf("operation: bodies under way are %d; they must be positive", c.Bodies)
	}
	return nil
}

// Object is what a bucket knows of one object.
type Object struct {
	Size int64
	ETag string
}

// Bucket is where documents come from and audio goes to.
type Bucket interface {
	// Stat returns NotFound for an object that is not there.
	Stat(ctx context.Context, key string) (Object, error)
	PresignGet(ctx context.Context, key string, expiry time.Duration, filename string) (string, error)
	// PresignPut returns a link under which an object of that type, and of size bytes
	// unless that is 0, is stored if there is none, and the fields that this needs.
	PresignPut(ctx context.Context, key string, expiry time.Duration, media string, size int64) (link string, fields map[string]string, err error)
	// Put stores what r yields as it comes: size bytes, or to the end of r if size is
	// negative, and nothing if r fails. existed is true if the object was there; it
	// is as it was then.
	Put(ctx context.Context, key, media string, r io.Reader, size int64) (o Object, existed bool, err error)
	// Get reads length bytes from offset on, of the version that etag names.
	Get(ctx context.Context, key, etag string, offset, length int64) (io.ReadCloser, error)
	playback.Bucket
}

// Bus is what operations need of the bus beside the intake.
type Bus interface {
	Healthy() bool
	Hint(id job.ID, version int64)
	// PurgeJob takes the messages of a job out of WORK.
	PurgeJob(ctx context.Context, id job.ID) error
}

// Deps are the parts that operations join. All are needed, except where it says
// otherwise.
type Deps struct {
	Store *store.Store
	// Database returns nil if the database answers, or has just done so.
	Database func(context.Context) error
	Bucket   Bucket
	Bus      Bus
	Intake   *intake.Committer
	Hub      *watch.Hub
	Voices   *voices.Directory
	Keys     *auth.Cache
	// Secrets makes those of API keys.
	Secrets *auth.Secrets
	// Documents answers for jobs from memory; whoever hears of a change tells it.
	Documents  *documents.Cache
	Minter     *job.Minter
	Log        *slog.Logger
	Guard      *limit.Guard          // nil: nobody is limited
	Quotas     *quota.Directory      // nil: no tenant has a quota
	Load       *shed.Controller      // nil: no submit is turned away because the intake is slow
	Tokens     Tokens                // nil: no access tokens
	Shed       func(reason string)   // is told of every call that is turned away for load; may be nil
	Transcoder *transcode.Transcoder // nil: speech is wav and pcm only
}

// Operations is what the gateway does. It is safe for concurrent use.
type Operations struct {
	cfg Config
	dep Deps

	asked    singleflight.Group // look-ups of keys and tokens under way, by hash
	guesses  *limit.Bucket      // keys that were not made here and do not exist
	watches  *watches
	speaking atomic.Int64
	bodies   *limit.Shares
	coders   *limit.Shares // of ffmpeg; nil without
	pieces   pieces
}

// New returns operations on what dep joins.
func New(cfg Config, dep Deps) (*Operations, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	o := &Operations{
		cfg: cfg, dep: dep, guesses: limit.NewBucket(guessRate), watches: newWatches(cfg.Watches, cfg.KeyWatches),
		bodies: limit.NewShares(cfg.Bodies, limit.KeyBodies, limit.TenantBodies, shedBodies),
	}
	if dep.Transcoder != nil {
		o.coders = limit.NewShares(dep.Transcoder.Max(), limit.KeyTranscodes, limit.TenantTranscodes, shedTranscodes)
	}
	return o, nil
}

// Problem returns the problem that err is, once for every call that ends with one:
// what was turned away for load is counted.
func (o *Operations) Problem(err error) *problem.Error {
	p := problem.Of(err)
	if errors.Is(err, intake.ErrUnknown) {
		p.Slug = problem.OutcomeUnknown
	}
	if p.Shed == "" {
		p.Shed = shedFor(err)
	}
	if p.Shed != "" {
		o.shed(p.Shed)
	}
	return p
}

// ready refuses early what could not be accepted anyway. A job without an
// idempotency key needs no database to be durable; without one it is refused all
// the same, as one with a key has to be.
func (o *Operations) ready(ctx context.Context) error {
	if !o.dep.Bus.Healthy() {
		return &job.Error{Op: "operation.ready", Kind: job.Unavailable, Public: "Jobs cannot be stored right now: the bus cannot be reached; try again later."}
	}
	if err := o.dep.Database(ctx); err != nil {
		return err
	}
	if len(o.dep.Voices.All()) == 0 {
		return &job.Error{Op: "operation.ready", Kind: job.Unavailable, Public: "There are no voices yet: no worker has started; try again later."}
	}
	return nil
}

// Voices returns every voice there is.
func (o *Operations) Voices() []voices.Voice { return o.dep.Voices.All() }

// Encode writes v as JSON without escaping what only HTML minds, and without a line end.
func Encode(v any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		panic("bug: a document cannot be encoded: " + err.Error())
	}
	return b.Bytes()[:b.Len()-1]
}

var errPanic = errors.New("operation: a part of it panicked")

// panicked puts down that a part of a call has panicked.
func (o *Operations) panicked(ctx context.Context, p any, c *Caller) {
	o.dep.Log.LogAttrs(ctx, slog.LevelError, "operation panicked",
		slog.Any("panic", p), slog.String("request_id", c.RequestID), slog.String("stack", string(debug.Stack())))
}
