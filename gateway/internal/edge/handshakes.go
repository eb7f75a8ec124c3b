package edge

import (
	"container/list"
	"encoding/binary"
	"sync"
	"time"
)

const (
	clientHello  = 1          // type of the first message of a handshake
	messageHead  = 4          // bytes of its type and length
	helloRecords = 16         // that a ClientHello may be cut into; crypto/tls sees to more
	recordBytes  = 18 << 10   // longer records are refused by crypto/tls at once
	helloBytes   = 64<<10 - 1 // and so are longer messages
)

// wholeHello reports whether data holds a whole ClientHello, or what is none, so
// that crypto/tls has something to say to it.
func wholeHello(data []byte) bool {
	var head [messageHead]byte
	have := 0 // bytes of the message
	for range helloRecords {
		if len(data) < recordHead {
			return false
		}
		size := int(binary.BigEndian.Uint16(data[recordHead-2:]))
		if data[0] != recordHandshake || size == 0 || size > recordBytes {
			return true // crypto/tls refuses it at once
		}
		record := data[recordHead:min(recordHead+size, len(data))]
		if have < messageHead {
			copy(head[have:], record)
		}
		have += len(record)
		length := int(binary.BigEndian.Uint32(head[:]) & 0xffffff)
		switch {
		case len(record) < size:
			return false // crypto/tls would wait for it, too
		case head[0] != clientHello || have >= messageHead && length > helloBytes:
			return true
		case have >= messageHead+length && have >= messageHead:
			return true
		}
		data = data[recordHead+size:]
	}
	return true
}

// handshakes are the TLS handshakes under way, the oldest first. It is safe for
// concurrent use.
type handshakes struct {
	mu  sync.Mutex
	all list.List // of *tlsLayer
}

func (h *handshakes) add(t *tlsLayer) {
	h.mu.Lock()
	defer h.mu.Unlock()
	t.place = h.all.PushBack(t)
}

func (h *handshakes) remove(t *tlsLayer) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if t.place != nil {
		h.all.Remove(t.place)
		t.place = nil
	}
}

// evict ends the handshake that has been under way longest, if that is since before
// and its client is waited for. It reports whether there is one.
func (h *handshakes) evict(before time.Time) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	first := h.all.Front()
	if first == nil {
		return false
	}
	t, ok := first.Value.(*tlsLayer)
	if !ok || !t.began.Before(before) || !t.waits() {
		return false
	}
	h.all.Remove(first)
	t.place = nil
	t.end()
	return true
}
