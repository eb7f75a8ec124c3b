package gateway

import (
	"cmp"
	"net/netip"
	"time"

	"github.com/voicemill/voicemill/gateway/internal/accesslog"
	"github.com/voicemill/voicemill/gateway/internal/auth"
	"github.com/voicemill/voicemill/gateway/internal/documents"
	"github.com/voicemill/voicemill/gateway/internal/intake"
	"github.com/voicemill/voicemill/gateway/internal/limit"
	"github.com/voicemill/voicemill/gateway/internal/operation"
	"github.com/voicemill/voicemill/gateway/internal/session"
	"github.com/voicemill/voicemill/gateway/internal/shed"
	"github.com/voicemill/voicemill/gateway/internal/transcode"
	"github.com/voicemill/voicemill/gateway/internal/watch"
	"github.com/voicemill/voicemill/gateway/internal/web"
	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/blob/foreign"
)

// Config says where the gateway listens and what it tolerates. Start from
// [DefaultConfig], or from the defaults in the tags.
type Config struct {
	Listen                string         `help:"Address for clients." default:"127.0.0.1:7860"`
	MaxConns              int            `help:"Open connections at most." default:"20000"`
	Readers               int            `help:"Requests that may ask Postgres at the same time; 0 means twice its connections." default:"0"`
	ReadQueue             int            `help:"Requests that may wait for that before more are refused." default:"4096"`
	CallbackAllowPrivate  bool           `help:"Allow callbacks to any address, private ones included. For trusted clients only."`
	CallbackAllowPrefixes []netip.Prefix `help:"Private networks that callbacks may be sent to." placeholder:"CIDR,..."`
	CallbackAllowPorts    []uint16       `help:"Ports that callbacks may be sent to beside 80 and 443." placeholder:"PORT,..."`
	Bucket                foreign.Config `embed:"" prefix:"bucket-"`
	Buckets               int            `help:"Buckets of its own that one tenant may have." default:"100"`
	KeyCache              time.Duration  `help:"How long a known API key is believed." default:"30s"`
	MaxWait               time.Duration  `help:"Longest hold of a request that waits for a job." default:"60s"`
	InFlight              int            `help:"Envelopes of jobs on their way to the bus at the same time." default:"1"`
	PublishTimeout        time.Duration  `help:"How long the bus may take to acknowledge an envelope." default:"5s"`
	ShedBulk              time.Duration  `help:"Intake latency from which bulk submits are turned away; all of them at three times that." default:"1s"`
	ShedInteractive       time.Duration  `help:"Intake latency from which interactive submits are; all of them at twice that." default:"3s"`
	Bounds                Bounds         `embed:""`
	UploadBytes           int64          `help:"Largest upload in bytes." default:"536870912"`
	UploadExpiry          time.Duration  `help:"How long an upload URL works." default:"1h"`
	KeyRate               limit.Rate     `help:"Requests of one API key as count/period:burst, or off." default:"2000/1s:10000"`
	TenantRate            limit.Rate     `help:"Requests of one tenant." default:"4000/1s:20000"`
	KeyText               limit.Rate     `help:"Characters of text that one API key hands in." default:"1000000/1s:120000000"`
	TenantText            limit.Rate     `help:"Characters of text that one tenant hands in." default:"2000000/1s:240000000"`
	KeyWaits              int            `help:"Requests and watches of one API key that wait for jobs at the same time; 0 is no limit." default:"10000"`
	TenantWaits           int            `help:"Requests and watches of one tenant that wait for jobs at the same time; 0 is no limit." default:"20000"`

	KeyConnections    int            `help:"WebSockets and connections of frames of one API key; 0 is no limit." default:"20000"`
	TenantConnections int            `help:"WebSockets and connections of frames of one tenant; 0 is no limit." default:"40000"`
	Origins           Words          `help:"Origins whose web pages may call (CORS); * is every one." placeholder:"ORIGIN,..."`
	Proxies           []netip.Prefix `help:"Proxies that are believed what Forwarded and X-Forwarded-For say." placeholder:"CIDR,..."`
	ProxyFrom         []netip.Prefix `help:"Load balancers whose connections begin with a PROXY protocol header, version 1 or 2." placeholder:"CIDR,..."`
	TLS               TLS            `embed:"" prefix:"tls-"`
	JWT               JWT            `embed:"" prefix:"jwt-"`
	DocumentAge       time.Duration  `help:"How long the document of a job is answered from memory without news of the job; 0 asks Postgres every time." default:"1s"`
	DocumentBytes     int            `help:"Memory for that, about." default:"33554432"`
	AccessLog         bool           `help:"Log requests." default:"true" negatable:""`
	AccessLogRate     int            `help:"Requests a second that are logged beside those that failed or were slow; 0 logs all." default:"1000"`
	AccessLogFailures int            `help:"Requests a second that are logged of those with a status of 4xx, and as many with 5xx; 0 logs all." default:"1000"`
	AccessLogSlow     time.Duration  `help:"Requests that succeeded and took that long are always logged." default:"1s"`
	Watches           int            `help:"Watches of jobs at most." default:"10000"`
	KeyWatches        int            `help:"Watches of jobs with one API key at most." default:"1000"`
	Heartbeat         time.Duration  `help:"How often a stream of events without an event shows that it lives." default:"15s"`
	Ping              time.Duration  `help:"How long a WebSocket or a connection of frames may be silent before it is asked whether it lives." default:"30s"`
	Deflate           bool           `help:"Allow compressed WebSocket messages."`
	FFmpeg            string         `help:"Path of ffmpeg, or its name in PATH, which compresses speech; empty: speech is wav and pcm only." name:"ffmpeg" default:"ffmpeg"`
	Transcodes        int            `help:"Speeches that ffmpeg compresses at the same time; 0 means eight for each processor." default:"0"`
	Grace             time.Duration  `help:"How long requests in flight may take after a stop." default:"20s"`
}

// DefaultConfig returns the same defaults as the tags.
func DefaultConfig() Config {
	limits, use := operation.DefaultConfig().Limits, limit.DefaultConfig()
	return Config{
		Listen: "127.0.0.1:7860", MaxConns: 20_000, ReadQueue: 4096, Buckets: operation.DefaultConfig().MaxBuckets, KeyCache: auth.DefaultConfig().Keep,
		MaxWait: operation.DefaultConfig().MaxWait, InFlight: 1, PublishTimeout: intake.DefaultConfig().PublishTimeout,
		Bounds: defaultBounds(), UploadBytes: limits.UploadBytes, UploadExpiry: limits.UploadExpiry,
		ShedBulk: shed.DefaultConfig().Bulk.From, ShedInteractive: shed.DefaultConfig().Interactive.From,
		KeyRate: use.KeyRequests, TenantRate: use.TenantRequests, KeyText: use.KeyCharacters, TenantText: use.TenantCharacters,
		KeyWaits: use.KeyHeld, TenantWaits: use.TenantHeld, KeyConnections: use.KeyConnections, TenantConnections: use.TenantConnections, JWT: defaultJWT(),
		AccessLog: true, AccessLogRate: accesslog.DefaultConfig().Rate, AccessLogFailures: accesslog.DefaultConfig().Failures, AccessLogSlow: accesslog.DefaultConfig().Slow,
		DocumentAge: documents.DefaultConfig().MaxAge, DocumentBytes: documents.DefaultConfig().Bytes,
		Watches: operation.DefaultConfig().Watches, KeyWatches: operation.DefaultConfig().KeyWatches, Heartbeat: operation.DefaultConfig().Heartbeat,
		Ping: session.DefaultConfig().Ping, FFmpeg: transcode.DefaultConfig().Path, Grace: 20 * time.Second,
	}
}

func (c Config) operation() operation.Config {
	o := operation.DefaultConfig()
	o.Limits.UploadBytes, o.Limits.UploadExpiry, o.Limits.TextBytes = c.UploadBytes, c.UploadExpiry, c.Bounds.TextBytes
	o.Bodies = c.Bounds.Streams
	o.Watches, o.KeyWatches, o.Heartbeat = c.Watches, c.KeyWatches, c.Heartbeat
	o.MaxWait, o.CallbackPrivate, o.CallbackAllowed = c.MaxWait, c.CallbackAllowPrivate, c.CallbackAllowPrefixes
	o.Buckets, o.MaxBuckets = c.Bucket, c.Buckets
	o.CallbackPorts = job.CallbackPorts(c.CallbackAllowPorts)
	return o
}

func (c Config) web(policy string) web.Config {
	return web.Config{
		Limits: c.operation().Limits, MaxWait: c.MaxWait, BodyBytes: c.Bounds.BodyBytes, BatchLines: c.Bounds.BatchLines,
		Policy: policy, Origins: c.Origins, Proxies: c.Proxies,
	}
}

func (c Config) session() session.Config { return session.Config{Ping: c.Ping, Deflate: c.Deflate} }

func (c Config) access() accesslog.Config {
	return accesslog.Config{Rate: c.AccessLogRate, Failures: c.AccessLogFailures, Slow: c.AccessLogSlow}
}

func (c Config) documents() documents.Config {
	return documents.Config{Bytes: c.DocumentBytes, MaxAge: c.DocumentAge}
}

func (c Config) transcode() transcode.Config {
	t := transcode.DefaultConfig()
	t.Path, t.Max = c.FFmpeg, cmp.Or(c.Transcodes, t.Max)
	return t
}

func (c Config) keys() auth.Config {
	a := auth.DefaultConfig()
	a.Keep = c.KeyCache
	return a
}

func (c Config) intake(observe func(intake.Envelope)) intake.Config {
	i := intake.DefaultConfig()
	i.InFlight, i.PublishTimeout, i.Observe = c.InFlight, c.PublishTimeout, observe
	return i
}

func (c Config) load() shed.Config {
	l := shed.DefaultConfig()
	l.Bulk = shed.Band{From: c.ShedBulk, Full: 3 * c.ShedBulk}
	l.Interactive = shed.Band{From: c.ShedInteractive, Full: 2 * c.ShedInteractive}
	return l
}

func (c Config) limits() limit.Config {
	l := limit.DefaultConfig()
	l.KeyRequests, l.TenantRequests = c.KeyRate, c.TenantRate
	l.KeyCharacters, l.TenantCharacters = c.KeyText, c.TenantText
	l.KeyHeld, l.TenantHeld = c.KeyWaits, c.TenantWaits
	l.KeyConnections, l.TenantConnections = c.KeyConnections, c.TenantConnections
	return l
}

func (c Config) watch() watch.Config {
	w := watch.DefaultConfig()
	w.Waiters = max(w.TenantWaiters, c.MaxConns) + c.Watches
	w.TenantWaiters = max(w.TenantWaiters, c.Watches)
	return w
}

// calls is how many calls may be under way at a time: those that ask Postgres or wait
// for that, that wait for the intake, and that wait for jobs.
func (c Config) calls() int {
	return c.ReadQueue + intake.DefaultConfig().QueueJobs + c.watch().Waiters
}
