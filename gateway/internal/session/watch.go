package session

import (
	"context"
	"net/http"
	"time"

	"github.com/voicemill/voicemill/api/jobdoc"
	"github.com/voicemill/voicemill/gateway/internal/accesslog"
	"github.com/voicemill/voicemill/gateway/internal/auth"
	"github.com/voicemill/voicemill/gateway/internal/operation"
	"github.com/voicemill/voicemill/gateway/internal/playback"
	"github.com/voicemill/voicemill/gateway/internal/problem"
	"github.com/voicemill/voicemill/gateway/internal/stage"
	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/lifecycle"
)

// watching is what a watch on a session has beside a call. It implements
// [operation.Watcher] and, in its listener, [operation.Listener].
type watching struct {
	events int64
	full   bool             // an event waits because too much waits for the peer; else for credit
	more   lifecycle.Signal // there is more credit than when there was too little for an event
	louder lifecycle.Signal // or for sound

	// Under s.mu.
	limited bool  // the client grants credit
	credit  int64 // bytes of events and sound that may be sent; sound may overdraw it a little
	least   int   // bytes of samples that are worth a message
}

const (
	congested      = 64 << 10 // output that may wait before events are held back
	bytesPerSample = 2
	audioFrame     = 128     // more than a message has beside its samples
	leastPiece     = 4 << 10 // smaller pieces are sent only to peers with smaller windows
)

// watch sends the events of a job, and its sound if that is wanted, until it ends.
func (c *call) watch(ctx context.Context, m *watchRequest) error {
	if err := c.s.srv.ops.Admit(ctx, &c.caller, auth.JobsRead); err != nil {
		return err
	}
	w, err := c.s.srv.ops.Watch(ctx, &c.caller, operation.Watching{
		Job: job.ID(m.ID), After: int64(m.AfterVersion), Audio: m.Audio || m.FromSegment > 0, From: int(m.FromSegment), //nolint:gosec // negative ones are refused
	})
	if err != nil {
		return err
	}
	c.start()
	var ear operation.Listener
	if m.Audio || m.FromSegment > 0 {
		ear = &listener{call: c}
	}
	c.end(w.Run(c, ear), w.Known())
	return nil
}

// start answers that the watch goes on.
func (c *call) start() {
	s := c.s
	s.mu.Lock()
	c.limited = s.window > 0
	c.credit += int64(s.window) // to what the client may have granted already
	c.least = max(bytesPerSample, min(leastPiece, (int(s.window)-audioFrame)/2))
	s.mu.Unlock()
	c.begun = true
	c.clock.Turn(stage.Send)
	s.metrics.End(c.route, c.method, http.StatusOK, time.Since(c.caller.Started))
}

// end says how the watch ended; nil if the job has.
func (c *call) end(err error, known int64) {
	record := accesslog.Record{Status: http.StatusOK, Events: c.events}
	var why *problem.Error
	switch {
	case c.gone():
		record.Status = statusLeft
	case err != nil:
		why = c.s.srv.ops.Problem(err)
		record.Status, record.Problem = why.StatusCode(), why
		c.s.answer(c, c.refusal(why))
	}
	record.Took = time.Since(c.caller.Started)
	c.log(&record)
	if c.s.live && c.id == liveStream && record.Status != statusLeft {
		c.s.endLive(why, known)
	}
	c.over()
}

// Event implements [operation.Watcher].
func (c *call) Event(e *jobdoc.Event) bool {
	s := c.s
	if c.full = s.conn.Buffered() > congested; c.full {
		s.srv.dep.Metrics.Held.Inc()
		return false
	}
	p, err := s.pack(&reply{Stream: c.id, Event: e})
	if err != nil {
		return true // the session has ended itself
	}
	if !c.spend(len(p)) {
		s.srv.dep.Metrics.Held.Inc()
		return false
	}
	if e.State.Final() { // the peer may use the stream again as soon as it has seen this
		s.mu.Lock()
		s.forgetLocked(c)
		s.mu.Unlock()
	}
	s.write(p)
	c.events++
	s.metrics.Events.Inc()
	return true
}

// spend takes n bytes of credit.
func (c *call) spend(n int) bool {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	if c.limited && c.credit < int64(n) {
		return false
	}
	c.credit -= int64(n)
	return true
}

// Ready implements [operation.Watcher].
func (c *call) Ready(ctx context.Context) error { return c.wait(ctx, c.full, c.more) }

// wait waits until everything is sent if too much waited for the peer, else for credit.
func (c *call) wait(ctx context.Context, full bool, credit <-chan struct{}) error {
	change := credit
	if full {
		sent := make(chan struct{})
		if !c.s.conn.AskRoom(func() { close(sent) }) {
			return nil // it is sent meanwhile
		}
		change = sent
	}
	select {
	case <-change:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Beat implements [operation.Watcher]: pings of the connection show that it lives.
func (c *call) Beat() {}

// grant adds credit, and wakes what waits for it.
func (c *call) grant(n uint32) {
	if c.watching == nil {
		return
	}
	const most = 1 << 30
	c.s.mu.Lock()
	c.credit = min(c.credit+int64(n), most)
	c.s.mu.Unlock()
	c.more.Raise()
	c.louder.Raise()
}

// listener is the call as who takes the sound.
type listener struct {
	*call
	full bool // as for events
}

// Room implements [operation.Listener].
func (l *listener) Room() int {
	s := l.s
	if l.full = s.conn.Buffered() > congested; l.full {
		return 0
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !l.limited {
		return congested
	}
	room := int(l.credit-audioFrame) * 3 / 4 // as long as base64 makes it
	if room < l.least {
		return 0
	}
	return room
}

// MoreRoom implements [operation.Listener].
func (l *listener) MoreRoom(ctx context.Context) error { return l.wait(ctx, l.full, l.louder) }

// Sound implements [operation.Listener].
func (l *listener) Sound(p playback.Piece, samples []byte) {
	s := l.s
	b, err := s.pack(&reply{Stream: l.id, Audio: &audioReply{
		Segment: p.Segment, Chapter: p.Chapter, SampleRate: p.SampleRate, PCM: samples, Last: p.Last,
	}})
	if err != nil {
		return // the session has ended itself
	}
	s.mu.Lock()
	l.credit -= int64(len(b))
	s.mu.Unlock()
	s.write(b)
}
