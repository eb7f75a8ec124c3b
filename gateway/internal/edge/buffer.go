package edge

import "sync"

const (
	bufferBytes     = 4 << 10  // of a new output buffer: most answers are smaller
	keptBufferBytes = 64 << 10 // larger buffers are left to the collector
)

// buffer is output on its way. Idle connections hold none.
type buffer struct{ b []byte }

// buffers recycles output buffers between connections. It is safe for
// concurrent use.
type buffers struct{ pool sync.Pool }

func (p *buffers) get() *buffer {
	if b, ok := p.pool.Get().(*buffer); ok {
		return b
	}
	return &buffer{b: make([]byte, 0, bufferBytes)}
}

func (p *buffers) put(b *buffer) {
	if b == nil || cap(b.b) > keptBufferBytes {
		return
	}
	b.b = b.b[:0]
	p.pool.Put(b)
}
