package bus

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"

	"github.com/nats-io/nats.go"

	"github.com/voicemill/voicemill/job"
)

// hintBacklog bounds the hints a slow receiver has waiting; the rest is dropped.
const hintBacklog = 8_192

type hint struct {
	Version int64 `json:"version"`
	Quiet   bool  `json:"quiet,omitempty"`
}

// Hinted is a hint that was heard.
type Hinted struct {
	ID      job.ID
	Version int64
	// Quiet says that the version brings no sound, makes nothing due and is not the
	// last: the job was stored, planned or begun.
	Quiet bool
}

// Hint tells whoever listens now that a job has reached version, or with 0 that
// it was cancelled before its first. It is lossy: nothing is stored, and it does
// nothing while the bus is away.
func (b *Bus) Hint(id job.ID, version int64) { b.hint(id, hint{Version: version}) }

// HintQuietly is [Bus.Hint] for a version that [Hinted].Quiet tells of.
func (b *Bus) HintQuietly(id job.ID, version int64) { b.hint(id, hint{Version: version, Quiet: true}) }

func (b *Bus) hint(id job.ID, h hint) {
	if !idToken.MatchString(string(id)) {
		return
	}
	data, err := json.Marshal(h)
	if err != nil {
		return // an integer always encodes
	}
	_ = b.nc.Publish(hintPrefix+"."+string(id), data)
}

// Hints calls fn for each hint from now on, in order, until ctx is done; then
// it returns nil. When fn is slower than hints come, hints are dropped.
func (b *Bus) Hints(ctx context.Context, fn func(Hinted)) error {
	sub, err := b.nc.SubscribeSync(hintPrefix + ".*")
	if err != nil {
		return classify("bus.Hints", err)
	}
	defer func() { _ = sub.Unsubscribe() }() // the connection may be gone
	if err := sub.SetPendingLimits(hintBacklog, -1); err != nil {
		return classify("bus.Hints", err)
	}
	for {
		m, err := sub.NextMsgWithContext(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, nats.ErrSlowConsumer):
			b.log.DebugContext(ctx, "hints dropped")
			continue
		case err != nil:
			return classify("bus.Hints", err)
		}
		h, err := decodeHint(m.Subject, m.Data)
		if err != nil {
			b.malformed.Add(1)
			b.log.DebugContext(ctx, "hint ignored", slog.String("error", err.Error()))
			continue
		}
		fn(h)
	}
}

var errNotAHint = errors.New("not a hint")

func decodeHint(subject string, data []byte) (Hinted, error) {
	id, ok := strings.CutPrefix(subject, hintPrefix+".")
	if !ok || !idToken.MatchString(id) {
		return Hinted{}, errNotAHint
	}
	var h hint
	if err := json.Unmarshal(data, &h); err != nil {
		return Hinted{}, err
	}
	if h.Version < 0 {
		return Hinted{}, errNotAHint
	}
	return Hinted{ID: job.ID(id), Version: h.Version, Quiet: h.Quiet}, nil
}
