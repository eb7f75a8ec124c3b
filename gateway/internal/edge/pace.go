package edge

import (
	"time"

	"golang.org/x/sys/unix"
)

// pace is how fast a peer takes output while some waits for it. It counts bytes on
// the socket, from its beginning.
type pace struct {
	sent  int           // given to the socket
	seen  int           // of these, taken by the peer when that was last looked at
	since time.Duration // when the peer began to be waited for; 0 while it is not
	from  int           // what it had taken then
}

// look notes what the peer has taken, and that it is waited for. It reports
// whether that is more than the last time.
func (p *pace) look(fd int, clock time.Duration) (more bool) {
	if left, err := unix.IoctlGetInt(fd, unix.SIOCOUTQ); err == nil { // not acknowledged yet
		taken := p.sent - left
		more = taken > p.seen
		p.seen = max(p.seen, taken)
	}
	if p.since == 0 {
		p.since, p.from = clock, p.seen
	}
	return more
}

// end notes that nothing waits for the peer.
func (p *pace) end() { p.since = 0 }
