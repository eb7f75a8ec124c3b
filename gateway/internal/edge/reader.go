package edge

import (
	"time"

	"github.com/voicemill/voicemill/gateway/internal/http1"
)

// reader is what becomes of the input of a connection: the request that is being
// read, its body, and what cannot be parsed yet.
type reader struct {
	parser    http1.Parser
	cur       *Exchange // the request that is being read
	body      *Body     // of a request that was dispatched, of which more is to come
	upload    bool      // a request whose body is or was streamed awaits its answer
	stage     http1.Stage
	stageAt   time.Duration // when the current stage of the request being read began
	eof       bool          // no more input will come
	noMore    bool          // no further request is read
	exclusive bool          // no further request is read until the one that asks for an upgrade, or is an upload, is answered
	interim   bool          // 100 (Continue) is owed or was sent for the request being read
	continued bool
	backlog   []byte // input that cannot be parsed yet
	discards  int    // input dropped while lingering
}

// keep adds input to the backlog. It reports false if that would be more than most.
func (r *reader) keep(data []byte, most int) bool {
	if len(r.backlog)+len(data) > most {
		return false
	}
	r.backlog = append(r.backlog, data...)
	return true
}

// left makes rest, the end of the backlog, the backlog.
func (r *reader) left(rest []byte) {
	r.backlog = r.backlog[:copy(r.backlog, rest)]
	if len(rest) == 0 {
		r.backlog = nil
	}
}
