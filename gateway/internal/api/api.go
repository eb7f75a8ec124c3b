package api

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/voicemill/voicemill/gateway/internal/auth"
	"github.com/voicemill/voicemill/gateway/internal/documents"
	"github.com/voicemill/voicemill/gateway/internal/intake"
	"github.com/voicemill/voicemill/gateway/internal/limit"
	"github.com/voicemill/voicemill/gateway/internal/offload"
	"github.com/voicemill/voicemill/gateway/internal/playback"
	"github.com/voicemill/voicemill/gateway/internal/shed"
	"github.com/voicemill/voicemill/gateway/internal/store"
	"github.com/voicemill/voicemill/gateway/internal/strictjson"
	"github.com/voicemill/voicemill/gateway/internal/transcode"
	"github.com/voicemill/voicemill/gateway/internal/voices"
	"github.com/voicemill/voicemill/gateway/internal/watch"
	"github.com/voicemill/voicemill/job"
)

// Config bounds what the API accepts. Start from [DefaultConfig].
type Config struct {
	Limits          job.Limits
	MaxWait         time.Duration // longest hold of a GET or a submit
	Watches         int           // most watches at a time
	KeyWatches      int           // most of one API key
	Heartbeat       time.Duration // a watch without an event shows that often that it lives
	PresignExpiry   time.Duration // how long a link to an artifact works
	BodyBytes       int           // of a body after it was unpacked, and of one line of a batch
	BatchLines      int           // jobs of one batch
	Streams         int           // bodies under way at a time
	LoopBytes       int           // larger bodies are read off the event loop
	CallbackPrivate bool          // callbacks may go to private addresses
	CallbackAllowed []netip.Prefix
	CallbackPorts   []uint16 // callbacks go to these, unless they may go anywhere
}

// DefaultConfig returns the published limits.
func DefaultConfig() Config {
	return Config{
		Limits: job.DefaultLimits(), MaxWait: time.Minute, Watches: 10_000, KeyWatches: 1000, Heartbeat: 15 * time.Second,
		PresignExpiry: 15 * time.Minute, BodyBytes: 1 << 20, BatchLines: 10_000, Streams: 1024, LoopBytes: 8 << 10,
		CallbackPorts: job.CallbackPorts(nil),
	}
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

// Bus is what the API needs of the bus beside the intake.
type Bus interface {
	Healthy() bool
	Hint(id job.ID, version int64)
	// PurgeJob takes the messages of a job out of WORK.
	PurgeJob(ctx context.Context, id job.ID) error
}

// Deps are the parts that an API joins. All are needed, except where it says
// otherwise.
type Deps struct {
	Store  *store.Store
	Bucket Bucket
	Bus    Bus
	Intake *intake.Committer
	Pool   *offload.Pool
	Hub    *watch.Hub
	Voices *voices.Directory
	Keys   *auth.Cache
	// Secrets makes those of API keys.
	Secrets *auth.Secrets
	// Documents answers for jobs from memory; whoever hears of a change tells it.
	Documents  *documents.Cache
	Minter     *job.Minter
	Log        *slog.Logger
	Guard      *limit.Guard          // nil: nobody is limited
	Load       *shed.Controller      // nil: no submit is turned away because the intake is slow
	Tokens     Tokens                // nil: no access tokens
	Shed       func(reason string)   // is told of every call that is turned away for load; may be nil
	Transcoder *transcode.Transcoder // nil: speech is wav and pcm only
}

// API answers calls. It is safe for concurrent use.
type API struct {
	cfg   Config
	dep   Deps
	table []route
	asked singleflight.Group // look-ups of keys and tokens under way, by hash

	watches  *watches
	guesses  *limit.Bucket // keys that were not made here and do not exist
	speaking atomic.Int64
	streams  *limit.Shares
	coders   *limit.Shares // of ffmpeg; nil without
	pieces   pieces

	specs    *strictjson.Schema[job.Spec]
	speeches *strictjson.Schema[speechRequest]
	uploads  *strictjson.Schema[uploadRequest]
	keys     *strictjson.Schema[keyRequest]
}

// New returns an API.
func New(cfg Config, dep Deps) (*API, error) {
	if err := cfg.Limits.Validate(); err != nil {
		return nil, fmt.Errorf("api: %w", err)
	}
	if cfg.MaxWait <= 0 || cfg.PresignExpiry < time.Second {
		return nil, fmt.Errorf("api: max wait (%s) must be positive and presign expiry (%s) at least a second", cfg.MaxWait, cfg.PresignExpiry)
	}
	if cfg.BodyBytes < 1 || cfg.BatchLines < 1 {
		return nil, fmt.Errorf("api: bytes of a body (%d) and lines of a batch (%d) must be positive", cfg.BodyBytes, cfg.BatchLines)
	}
	if cfg.Watches < 1 || cfg.KeyWatches < 1 || cfg.Heartbeat <= 0 {
		return nil, fmt.Errorf("api: watches (%d), watches of a key (%d) and heartbeat (%s) must be positive", cfg.Watches, cfg.KeyWatches, cfg.Heartbeat)
	}
	if cfg.Streams < 1 {
		return nil, fmt.Errorf("api: bodies under way are %d; they must be positive", cfg.Streams)
	}
	a := &API{
		cfg: cfg, dep: dep, table: routes(), streams: limit.NewShares(cfg.Streams, limit.KeyStreams, limit.TenantStreams, shedStreams), guesses: limit.NewBucket(guessRate), watches: newWatches(cfg.Watches, cfg.KeyWatches),
		specs: strictjson.For[job.Spec](), speeches: strictjson.For[speechRequest](),
		uploads: strictjson.For[uploadRequest](), keys: strictjson.For[keyRequest](),
	}
	if dep.Transcoder != nil {
		a.coders = limit.NewShares(dep.Transcoder.Max(), limit.KeyTranscodes, limit.TenantTranscodes, shedTranscodes)
	}
	return a, nil
}

// Serve answers one call. It does not block, so an event loop may call it; the
// answer may come later from another goroutine.
func (a *API) Serve(c *Call) {
	c.Route = "none"
	r, allow := find(a.table, c)
	switch {
	case r != nil:
	case !recognised(c.Method()):
		a.refuse(c, notImplemented, "No resource has this method.")
		return
	case len(allow) == 0:
		a.refuse(c, notFound, "There is nothing at this path.")
		return
	case c.Method() == http.MethodOptions:
		c.Reply(&Answer{Status: http.StatusNoContent, Allow: strings.Join(append(allow, http.MethodOptions), ", ")})
		return
	default:
		a.notAllowed(c, append(allow, http.MethodOptions))
		return
	}
	if r.open {
		r.serve(a, c)
		return
	}
	field, ok := a.shown(c, r)
	if !ok {
		a.refuse(c, unauthorized, "Send an API key: Authorization: Bearer vm_…")
		return
	}
	if c.Foreign && c.Key == c.Certificate {
		a.refuse(c, foreignOrigin, "A page of this origin may not use the client certificate; --origins names those that may. With an API key in Authorization it needs none.")
		return
	}
	if id, fresh := a.dep.Keys.Get(c.Key, c.Started); fresh {
		a.enter(c, r, id)
		return
	}
	known := field == nil || c.Token != nil || a.dep.Secrets.Made(field)
	if wait := a.guess(known, c.Started); wait > 0 {
		a.shed(shedGuesses)
		a.turnAway(c, overloaded, "Too many unknown API keys are tried right now; try again later.", wait)
		return
	}
	rest := func(ctx context.Context) {
		c.enter(stageAuth)
		id, err := a.who(ctx, c)
		c.enter(stageWork)
		if !known && id != nil {
			a.guesses.Give()
		}
		if err != nil {
			a.fail(c, err)
			return
		}
		a.enter(c, r, id)
	}
	if c.detached {
		rest(c.Context())
		return
	}
	a.off(c, rest)
}

// ServeDetached is Serve for a caller that may block.
func (a *API) ServeDetached(c *Call) {
	c.detach()
	c.enter(stageWork)
	a.Serve(c)
}

// guessRate is how many API keys that were not made here and do not exist the store
// is asked for. An operator may choose a key, so they cannot be refused unasked.
//
//nolint:gochecknoglobals // a constant
var guessRate = limit.Rate{Count: 50, Per: time.Second, Burst: 200}

// guess counts the question for a key, unless it is known to be one. wait says how
// long it may not be asked.
func (a *API) guess(known bool, at time.Time) (wait time.Duration) {
	if known {
		return 0
	}
	return a.guesses.Take(at)
}

// shown finds what the caller shows: an API key or an access token, with the field
// that it came in, or a certificate. A browser can set no field on a WebSocket or
// an EventSource, so their routes take the first two from the query, too. field is
// nil if the carrier knows what was shown.
func (a *API) shown(c *Call, r *route) (field []byte, ok bool) {
	if c.Key != (auth.Hash{}) {
		return nil, true
	}
	field = c.Header("authorization")
	if field == nil && r.browser {
		q, err := url.ParseQuery(string(c.Query()))
		if err == nil && len(q[accessToken]) == 1 {
			field = []byte("Bearer " + q.Get(accessToken))
		}
	}
	if field == nil && c.Certificate != (auth.Hash{}) {
		c.Key = c.Certificate
		return nil, true
	}
	if c.Key, ok = auth.Bearer(field); !ok && a.dep.Tokens != nil {
		c.Token, c.Key, ok = auth.Token(field)
		c.Token = bytes.Clone(c.Token) // it lies in the request
	}
	return field, ok
}

const accessToken = "access_token" // RFC 6750 section 2.3

func (a *API) notAllowed(c *Call, allow []string) {
	k := problems[methodNotAllowed]
	c.Reply(&Answer{
		Status: k.status, ContentType: contentProblem, Allow: strings.Join(allow, ", "),
		Problem: &Problem{
			Type: "/problems/" + string(methodNotAllowed), Title: k.title, Status: k.status, RequestID: c.RequestID,
			Detail: "This resource has " + strings.Join(allow, ", ") + ".",
		},
	})
}

// who asks whose the key or the token of a call is; nobody's if the identity is nil.
func (a *API) who(ctx context.Context, c *Call) (*auth.Identity, error) {
	if c.Token != nil {
		return a.verify(ctx, string(c.Token), c.Key)
	}
	return a.identify(ctx, c.Key)
}

// identify asks the store who a key belongs to; equal questions share an answer,
// unless a key was made or revoked between them.
func (a *API) identify(ctx context.Context, h auth.Hash) (*auth.Identity, error) {
	since := a.dep.Keys.Asking()
	v, err, _ := a.asked.Do(string(binary.BigEndian.AppendUint64(h[:], since)), func() (any, error) {
		// The answer serves everyone who asks meanwhile, so the first one's leaving must not end it.
		id, err := a.dep.Store.FindKey(context.WithoutCancel(ctx), h)
		if err == nil {
			a.dep.Keys.PutAnswer(h, id, time.Now(), since)
		}
		return id, err
	})
	if err != nil {
		return nil, err
	}
	id, _ := v.(*auth.Identity)
	return id, nil
}

// RenewKeys looks up the keys in use before they stop being believed, until ctx
// is done. What the store cannot say is believed for as long as it would be
// without.
func (a *API) RenewKeys(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case h := <-a.dep.Keys.Due():
			if _, err := a.identify(ctx, h); err != nil {
				a.dep.Log.LogAttrs(ctx, slog.LevelDebug, "a key waits to be looked up again", slog.Any("error", err))
			}
		}
	}
}

// enter serves the route if the identity may.
func (a *API) enter(c *Call, r *route, id *auth.Identity) {
	if id == nil {
		a.refuse(c, unauthorized, sayNobody(c))
		return
	}
	c.Identity = *id
	if !a.admit(c) {
		return
	}
	switch {
	case !id.May(r.scopes...):
		a.refuse(c, forbidden, fmt.Sprintf("This needs the scope %s.", r.scopes[0]))
	case r.streams:
		a.stream(c, r)
	case packed(c):
		a.unpack(c, r)
	case r.onLoop || c.detached:
		r.serve(a, c)
	default:
		a.off(c, func(context.Context) { r.serve(a, c) })
	}
}

// sayNobody says that what the caller shows lets nobody in.
func sayNobody(c *Call) string {
	switch {
	case c.Token != nil:
		return "This access token is not valid."
	case c.Certificate == c.Key:
		return "The client certificate is not registered as an API key, or the key was revoked."
	}
	return "This API key does not exist or was revoked."
}

var errPanic = errors.New("api: a handler panicked")

// off runs the rest of a call where it may block. A panic there ends this call
// only.
func (a *API) off(c *Call, rest func(ctx context.Context)) {
	if err := a.queue(c, rest); err != nil {
		a.fail(c, err)
	}
}

// queue is off for who says itself that there is no room for it.
func (a *API) queue(c *Call, rest func(ctx context.Context)) error {
	c.detach()
	c.enter(stageQueue)
	return a.dep.Pool.Go(func() {
		defer a.rescue(c, func() { a.fail(c, errPanic) })
		c.enter(stageWork)
		rest(c.Context())
	})
}

// rescue is deferred around what runs for one call; after a panic it ends the
// call with end.
func (a *API) rescue(c *Call, end func()) {
	if p := recover(); p != nil {
		var id string
		if c != nil {
			id = c.RequestID
		}
		a.dep.Log.LogAttrs(context.Background(), slog.LevelError, "handler panicked", //nolint:forbidigo // the request's context may have ended
			slog.Any("panic", p), slog.String("request_id", id), slog.String("stack", string(debug.Stack())))
		end()
	}
}

// reply answers with v as JSON.
func (a *API) reply(c *Call, status int, v any) {
	c.Reply(&Answer{Status: status, ContentType: contentJSON, Body: encode(v)})
}

const (
	contentJSON    = "application/json"
	contentProblem = "application/problem+json"
)

// encode writes v as JSON without escaping what only HTML minds.
func encode(v any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		panic("bug: an answer cannot be encoded: " + err.Error())
	}
	return b.Bytes()
}
