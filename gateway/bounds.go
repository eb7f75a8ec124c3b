package gateway

import (
	"time"

	"github.com/voicemill/voicemill/gateway/internal/edge"
	"github.com/voicemill/voicemill/gateway/internal/http1"
)

// Bounds are what connections and requests may take up.
type Bounds struct {
	AcceptRate    int           `help:"New connections a second, and at once; the rest waits in the kernel's queue. 0 is no limit." default:"10000"`
	MaxBuffered   int           `help:"Bytes that all connections may hold together, above 64 KiB each." unit:"bytes" default:"268435456"`
	HeadBytes     int           `help:"Largest head of a request in bytes." default:"16384"`
	BodyBytes     int           `help:"Largest body of a request, or line of a batch, in bytes, unpacked." default:"1048576"`
	TextBytes     int           `help:"Largest text of a job that is not uploaded, in bytes." default:"262144"`
	BatchLines    int           `help:"Jobs of one batch at most." default:"10000"`
	Streams       int           `help:"Bodies under way at the same time, in both directions; one API key has half of them at most, one tenant two thirds." default:"1024"`
	HeadTimeout   time.Duration `help:"Time for the head of a request to arrive." default:"10s"`
	BodyTimeout   time.Duration `help:"Time for the body of a request to arrive; one that is read while it arrives may take longer if it keeps coming." default:"60s"`
	IdleTimeout   time.Duration `help:"How long a connection may be silent between two requests." default:"75s"`
	AnswerTimeout time.Duration `help:"Time for an answer, which is 503 after that; max wait must end a twelfth of it before." default:"120s"`
}

// defaultBounds returns the same defaults as the tags.
func defaultBounds() Bounds {
	return Bounds{
		AcceptRate: 10_000, MaxBuffered: 256 << 20, HeadBytes: 16 << 10, BodyBytes: maxBodyBytes, TextBytes: 256 << 10, BatchLines: maxBatchLines, Streams: 1024,
		HeadTimeout: 10 * time.Second, BodyTimeout: time.Minute, IdleTimeout: 75 * time.Second, AnswerTimeout: 2 * time.Minute,
	}
}

// maxHold is the longest time for which a request may wait for a job. It stays
// below the time after which the edge gives up on a handler.
func (b Bounds) maxHold() time.Duration { return b.AnswerTimeout - b.AnswerTimeout/12 }

// apply sets the bounds in what the edge is told.
func (b Bounds) apply(e *edge.Config) {
	e.AcceptRate, e.MaxBuffered = b.AcceptRate, b.MaxBuffered
	e.MaxBodies = b.Streams
	e.Limits = http1.DefaultLimits()
	e.Limits.HeadBytes, e.Limits.BodyBytes = b.HeadBytes, int64(b.BodyBytes)
	e.Limits.TargetBytes = min(e.Limits.TargetBytes, b.HeadBytes)
	e.HeadTimeout, e.BodyTimeout, e.IdleTimeout, e.AnswerTimeout = b.HeadTimeout, b.BodyTimeout, b.IdleTimeout, b.AnswerTimeout
}
