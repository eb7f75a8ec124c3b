package blob

import (
	"context"
	"sync"

	"github.com/voicemill/voicemill/job"
)

// parts is memory for the parts of objects on their way to the store. At most as
// many as it was made for are out at a time; those that came back go to the next
// who asks or, when nobody asks for a while, to the garbage collector.
type parts struct {
	out  chan struct{} // one for each that is out
	idle sync.Pool     // of *[partBytes]byte
}

func newParts(n int) *parts { return &parts{out: make(chan struct{}, n)} }

// wait returns memory for one part as soon as fewer than the limit are out.
func (p *parts) wait(ctx context.Context) (*[partBytes]byte, error) {
	select {
	case p.out <- struct{}{}:
		return p.take(), nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// now is wait for who does not wait: it refuses what is over the limit.
func (p *parts) now() (*[partBytes]byte, error) {
	select {
	case p.out <- struct{}{}:
		return p.take(), nil
	default:
		return nil, &job.Error{Op: "blob.Put", Kind: job.Overloaded, Public: "Too many uploads of unknown size are under way; say how long the body is, or try again later.", Err: errManySlow}
	}
}

func (p *parts) take() *[partBytes]byte {
	if part, ok := p.idle.Get().(*[partBytes]byte); ok {
		return part
	}
	return new([partBytes]byte)
}

// back returns what wait or now gave.
func (p *parts) back(part *[partBytes]byte) {
	p.idle.Put(part)
	<-p.out
}
