package blob

import (
	"bytes"
	"context"
	"sync/atomic"
	"time"

	"github.com/voicemill/voicemill/job"
)

const (
	probeKey   = "probe" // one object for everybody; what it holds means nothing
	probeBytes = 16 << 10
	probeEvery = time.Minute // without a write that went well
)

// writes remembers how the last writes went.
type writes struct {
	last   atomic.Int64 // Unix nanoseconds of the last one that went well
	failed atomic.Bool  // one has failed since
}

// done takes the result of a write; what the writer did wrong tells nothing of
// the server.
func (w *writes) done(err error) {
	switch {
	case err == nil:
		w.last.Store(time.Now().UnixNano())
		w.failed.Store(false)
	case job.KindOf(err) == job.Unavailable || job.KindOf(err) == job.Overloaded:
		w.failed.Store(true)
	}
}

// ReadyToWrite asks the server whether the bucket is there and takes objects. It
// writes one of its own, in place of the one before, unless a write has gone well
// in the last minute and none has failed since.
func (s *Store) ReadyToWrite(ctx context.Context) error {
	if err := s.Ready(ctx); err != nil {
		return err
	}
	if !s.writes.failed.Load() && time.Since(time.Unix(0, s.writes.last.Load())) < probeEvery {
		return nil
	}
	_, err := s.Put(ctx, probeKey, bytes.NewReader(make([]byte, probeBytes)), probeBytes, PutOptions{})
	return err
}
