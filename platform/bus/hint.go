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
}

// Hint tells whoever listens now that a job has reached version, or with 0 that
// it was cancelled before its first. It is lossy: nothing is stored, and it does
// nothing while the bus is away.
func (b *Bus) Hint(id job.ID, version int64) {
	if !idToken.MatchString(string(id)) {
		return
	}
	data, err := json.Marshal(hint{Version: version})
	if err != nil {
		return // an integer always encodes
	}
	_ = b.nc.Publish(hintPrefix+"."+string(id), data)
}

// Hints calls fn for each hint from now on, in order, until ctx is done; then
// it returns nil. When fn is slower than hints come, hints are dropped.
func (b *Bus) Hints(ctx context.Context, fn func(job.ID, int64)) error {
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
		id, version, err := decodeHint(m.Subject, m.Data)
		if err != nil {
			b.malformed.Add(1)
			b.log.DebugContext(ctx, "hint ignored", slog.String("error", err.Error()))
			continue
		}
		fn(id, version)
	}
}

var errNotAHint = errors.New("not a hint")

func decodeHint(subject string, data []byte) (job.ID, int64, error) {
	id, ok := strings.CutPrefix(subject, hintPrefix+".")
	if !ok || !idToken.MatchString(id) {
		return "", 0, errNotAHint
	}
	var h hint
	if err := json.Unmarshal(data, &h); err != nil {
		return "", 0, err
	}
	if h.Version < 0 {
		return "", 0, errNotAHint
	}
	return job.ID(id), h.Version, nil
}
