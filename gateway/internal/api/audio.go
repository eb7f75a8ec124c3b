package api

import (
	"errors"
	"io"
	"sync"
	"time"

	"github.com/voicemill/voicemill/gateway/internal/playback"
	"github.com/voicemill/voicemill/gateway/internal/watch"
	"github.com/voicemill/voicemill/job"
)

// AudioSink is a [Sink] that takes the sound of the job, too. Its methods may be
// called while those of Sink are.
type AudioSink interface {
	Sink
	// Room returns how many bytes of samples the peer takes now. If that is less
	// than a sample, the carrier calls [Feed.ResumeAudio] when the peer has caught up.
	Room() int
	// Audio sends a piece, not longer than Room allowed. It does not keep samples.
	Audio(p playback.Piece, samples []byte)
}

// Audible is a [Watchable] whose watches can carry sound.
type Audible interface {
	Watchable
	// WatchAudio is Watch with sound.
	WatchAudio(f *Feed) AudioSink
}

const (
	audioPiece = 32 << 10    // bytes of samples sent at a time; less than 64 KiB in any spelling
	audioTurn  = 256 << 10   // bytes that are sent before others have a turn
	audioRetry = time.Second // between two looks when the bucket or the database is away
)

// listener is the sound of one watch. It is pulled like its [Feed], and has the
// same states; but nothing is left out: a peer that does not read is waited for,
// and meanwhile nothing is held for it.
type listener struct {
	f      *Feed
	sink   AudioSink
	player *playback.Player

	mu     sync.Mutex
	state  feedState // guarded by mu
	again  bool      // guarded by mu: the peer caught up before anybody knew that it had not
	cancel func()    // guarded by mu: takes the waiter away
}

// ResumeAudio continues the sound of a feed whose sink had no room.
func (f *Feed) ResumeAudio() {
	if l := f.ear; l != nil && l.resume() {
		l.turn()
	}
}

func (l *listener) resume() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.again = l.state == feedReading
	if l.state != feedCongested {
		return false
	}
	l.state = feedReading
	return true
}

// stop ends the sound. What it holds is freed by whoever is reading.
func (l *listener) stop() {
	l.mu.Lock()
	l.state = feedOver
	cancel := l.cancel
	l.cancel = nil
	l.mu.Unlock()
	if cancel != nil {
		cancel()
	}
}

func (l *listener) over() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.state == feedOver
}

// turn reads and sends where that may block.
func (l *listener) turn() {
	f := l.f
	err := f.a.dep.Pool.Go(func() {
		defer f.a.rescue(f.c, f.broken)
		l.play()
	})
	switch {
	case err == nil:
	case job.KindOf(err) == job.Overloaded:
		l.wait(audioRetry)
	default:
		f.finish(f.drained())
	}
}

// play sends what there is until the peer has enough or others want a turn.
func (l *listener) play() {
	buf := l.f.a.pieces.get()
	defer l.f.a.pieces.put(buf)
	for sent := 0; sent < audioTurn; {
		if l.over() {
			l.player.Close()
			return
		}
		if why := l.f.a.revoked(l.f.c.Context(), l.f.c); why != nil {
			l.f.finish(why)
			continue
		}
		room := min(l.sink.Room(), audioPiece)
		if room < 2 {
			l.player.Rest()
			if !l.yield() {
				return
			}
			continue
		}
		piece, err := l.player.Read(l.f.c.Context(), buf[:room])
		if err != nil {
			l.pause(err)
			return
		}
		l.sink.Audio(piece, buf[:piece.Bytes])
		sent += piece.Bytes
	}
	l.turn()
}

// pause ends the sound, or waits for more of it.
func (l *listener) pause(err error) {
	l.player.Rest()
	f := l.f
	switch kind := job.KindOf(err); {
	case errors.Is(err, playback.ErrNotYet):
		l.wait(f.a.cfg.Heartbeat)
	case errors.Is(err, io.EOF), errors.Is(err, playback.ErrEnded):
		l.stop() // of a job that has failed the last event tells
		f.heard()
	case kind == job.Unavailable || kind == job.Overloaded:
		l.wait(audioRetry)
	default:
		why := f.a.problem(f.c, internal, "")
		why.Err = err
		f.finish(why)
	}
}

// yield leaves the sound to ResumeAudio. It reports true if the peer has caught
// up meanwhile.
func (l *listener) yield() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.state == feedOver {
		return false
	}
	if l.again {
		l.again = false
		return true
	}
	l.state = feedCongested
	return false
}

// wait leaves the sound to the hub, for a while at most.
func (l *listener) wait(most time.Duration) {
	f := l.f
	l.mu.Lock()
	if l.state == feedOver {
		l.mu.Unlock()
		return
	}
	l.state, l.again = feedWaiting, false
	cancel, err := f.a.dep.Hub.Wait(&watch.Waiter{
		Job: f.id, Tenant: f.c.Identity.Tenant, Known: l.player.Version(), Until: time.Now().Add(most), Wake: l.wake,
	})
	l.cancel = cancel
	l.mu.Unlock()
	switch {
	case err == nil:
	case job.KindOf(err) == job.Unavailable:
		f.finish(f.drained())
	default:
		f.a.shedFor(err)
		f.finish(f.a.problem(f.c, overloaded, "Too many requests are waiting for jobs."))
	}
}

// wake runs on a goroutine of the hub.
func (l *listener) wake() {
	defer l.f.a.rescue(l.f.c, l.f.broken)
	l.mu.Lock()
	waiting := l.state == feedWaiting
	if waiting {
		l.state, l.cancel = feedReading, nil
	}
	l.mu.Unlock()
	if waiting {
		l.turn()
	}
}

// pieces recycles memory for samples. It is safe for concurrent use.
type pieces struct{ pool sync.Pool }

func (p *pieces) get() *[audioPiece]byte {
	if b, ok := p.pool.Get().(*[audioPiece]byte); ok {
		return b
	}
	return new([audioPiece]byte)
}

func (p *pieces) put(b *[audioPiece]byte) { p.pool.Put(b) }
