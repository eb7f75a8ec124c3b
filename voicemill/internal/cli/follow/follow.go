package follow

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/voicemill/voicemill/api/jobdoc"
	"github.com/voicemill/voicemill/platform/lifecycle"
)

// Poll returns the job when it has changed, or as it is when nothing changed
// for a while. It holds the call, so that nobody asks in a tight loop.
type Poll func(ctx context.Context) (jobdoc.Document, error)

// Config says whom to ask and how long to bear silence.
type Config struct {
	Poll     Poll
	Away     func(error) bool // whether asking again may help
	Patience time.Duration    // how long the server may be away; must be > 0
	Address  string           // of the server, for the notes
}

const (
	firstPause = 500 * time.Millisecond
	maxPause   = 10 * time.Second
	// A job that changes all the time is asked about five times a second, and a
	// server that answers without news, although it should hold the call, once.
	minPoll, minIdlePoll = 200 * time.Millisecond, time.Second
	// A view may redraw this often without news: a bar counts down and follows
	// the terminal's size.
	tick = 250 * time.Millisecond
)

// ErrLost is wrapped when the server stayed away longer than Config.Patience.
var ErrLost = errors.New("the server stayed away")

// Run shows the job in view until it ends and returns it as it then is. It
// starts with the document first, if it is not nil. When ctx ends, Run returns
// ctx's error and the last document. It closes view.
func Run(ctx context.Context, cfg Config, view View, first *jobdoc.Document) (last jobdoc.Document, err error) {
	if first != nil {
		last = *first
		if err := view.Show(last, time.Now()); err != nil || last.State.Final() {
			return last, errors.Join(err, view.Close())
		}
	}
	ctx, stop := context.WithCancel(ctx)
	news := make(chan event)
	var asking sync.WaitGroup
	asking.Go(func() { ask(ctx, cfg, news) })
	defer func() {
		stop()
		asking.Wait()
		err = errors.Join(err, view.Close())
	}()

	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return last, ctx.Err()
		case e := <-news:
			switch {
			case e.err != nil:
				return last, e.err
			case e.note != "":
				view.Note(e.note)
				continue
			}
			last = e.doc
			if err := view.Show(last, time.Now()); err != nil || last.State.Final() {
				return last, err
			}
		case now := <-ticker.C:
			if err := view.Tick(now); err != nil {
				return last, err
			}
		}
	}
}

// event is one thing that ask has to say; one member is set.
type event struct {
	doc  jobdoc.Document
	note string
	err  error
}

// ask polls until the job ends, ctx ends or the server refuses. Run reads news.
func ask(ctx context.Context, cfg Config, news chan<- event) {
	tell := func(e event) bool {
		select {
		case news <- e:
			return true
		case <-ctx.Done():
			return false
		}
	}
	var lost time.Time // when the server went away; zero while it is there
	pause := firstPause
	version := int64(-1)
	for {
		asked := time.Now()
		doc, err := cfg.Poll(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err == nil:
			if !lost.IsZero() && !tell(event{note: "connected again to " + cfg.Address}) {
				return
			}
			lost, pause = time.Time{}, firstPause
			if !tell(event{doc: doc}) || doc.State.Final() {
				return
			}
			least := minPoll
			if doc.Version == version {
				least = minIdlePoll
			}
			version = doc.Version
			if !lifecycle.Sleep(ctx, least-time.Since(asked)) {
				return
			}
			continue
		case !cfg.Away(err):
			tell(event{err: err})
			return
		}
		if lost.IsZero() {
			lost = time.Now()
			if !tell(event{note: fmt.Sprintf("%s does not answer; trying again for %s", cfg.Address, cfg.Patience)}) {
				return
			}
		}
		if time.Since(lost)+pause > cfg.Patience {
			tell(event{err: fmt.Errorf("%w for %s: %w", ErrLost, cfg.Patience, err)})
			return
		}
		if !lifecycle.Sleep(ctx, jitter(pause)) {
			return
		}
		pause = min(2*pause, maxPause)
	}
}

// jitter returns between half of d and d, so that many watchers of a server
// that restarts do not come back at once.
func jitter(d time.Duration) time.Duration { return d/2 + rand.N(d/2+1) }
