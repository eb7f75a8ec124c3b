package operation

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"github.com/voicemill/voicemill/gateway/internal/playback"
	"github.com/voicemill/voicemill/gateway/internal/problem"
	"github.com/voicemill/voicemill/job"
)

const (
	soundPiece = 32 << 10    // bytes of samples sent at a time; less than 64 KiB in any spelling
	soundRetry = time.Second // between two looks when the bucket or the database is away
)

// sound sends the sound of the job: nothing is left out, a peer that does not read
// is waited for, and meanwhile nothing is held for it.
func (w *Watch) sound(ctx context.Context, to Listener) error {
	player := playback.New(playback.Config{
		Store: w.o.dep.Store, Bucket: w.o.dep.Bucket, Tenant: w.c.Tenant, Job: w.want.Job, From: w.want.From, Partial: true,
	})
	defer player.Close()
	for {
		if err := w.o.revoked(ctx, w.c); err != nil {
			return err
		}
		room, err := w.room(ctx, player, to)
		if err != nil {
			return err
		}
		switch err := w.piece(ctx, player, to, room); {
		case err == nil:
			continue
		case errors.Is(err, io.EOF), errors.Is(err, playback.ErrEnded):
			close(w.heard) // of a job that has failed the last event tells
			return nil
		default:
			if err := w.pause(player, err); err != nil {
				return err
			}
		}
	}
}

// room waits for room. Whoever is waited for holds no connection to the bucket.
func (w *Watch) room(ctx context.Context, player *playback.Player, to Listener) (int, error) {
	for {
		if n := to.Room(); n > 0 {
			return n, nil
		}
		player.Rest()
		if err := to.MoreRoom(ctx); err != nil {
			return 0, err
		}
	}
}

// piece sends the next one.
func (w *Watch) piece(ctx context.Context, player *playback.Player, to Listener, room int) error {
	buf := w.o.pieces.get()
	defer w.o.pieces.put(buf)
	p, err := player.Read(ctx, buf[:min(room, soundPiece)])
	if err == nil {
		to.Sound(p, buf[:p.Bytes])
	}
	return err
}

// pause waits until there may be more sound, or returns why there is none.
func (w *Watch) pause(player *playback.Player, err error) error {
	player.Rest()
	wait := soundRetry
	switch kind := job.KindOf(err); {
	case errors.Is(err, playback.ErrNotYet):
		wait = w.o.cfg.Heartbeat
	case kind == job.NotFound:
		return err
	case kind != job.Unavailable && kind != job.Overloaded:
		return &problem.Error{Slug: problem.Internal, Err: err}
	}
	return w.wait(player.Version(), time.Now().Add(wait))
}

// pieces recycles memory for samples. It is safe for concurrent use.
type pieces struct{ pool sync.Pool }

func (p *pieces) get() *[soundPiece]byte {
	if b, ok := p.pool.Get().(*[soundPiece]byte); ok {
		return b
	}
	return new([soundPiece]byte)
}

func (p *pieces) put(b *[soundPiece]byte) { p.pool.Put(b) }
