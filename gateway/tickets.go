package gateway

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/voicemill/voicemill/platform/lifecycle"
)

// What crypto/tls does with keys of its own.
const (
	ticketKeyLife  = 24 * time.Hour     // of a key for new tickets
	ticketKeyKnown = 7 * 24 * time.Hour // how long tickets of a key are taken; none is valid for longer
)

// ticketMaterialBytes is one key in what a process hands to the next: when it
// was made, in seconds of Unix time, and the key.
const ticketMaterialBytes = 8 + ticketKeyBytes

var errTicketMaterial = errors.New("gateway: not the ticket keys of another process")

// Tickets are the keys of TLS session tickets of a process without a file for
// them. They live in memory and change every day; a process that replaces this
// one gets them with [Tickets.Material]. It is safe for concurrent use.
type Tickets struct {
	random io.Reader

	mu   sync.Mutex
	keys []ticketKey // guarded by mu: the newest first, 1 to maxTicketKeys
}

type ticketKey struct {
	made time.Time
	key  [ticketKeyBytes]byte
}

// NewTickets returns a new key. material is nil or what the [Tickets.Material]
// of the process that is being replaced was, whose sessions are then resumed.
// If it is something else, the error says so and the Tickets work without it.
func NewTickets(random io.Reader, material []byte) (*Tickets, error) {
	t := &Tickets{random: random}
	if keys, ok := parseTickets(material, time.Now()); ok {
		t.keys = keys
		return t, nil
	}
	if err := t.renew(time.Now()); err != nil {
		return nil, err
	}
	if material != nil {
		return t, fmt.Errorf("%w: %d bytes", errTicketMaterial, len(material))
	}
	return t, nil
}

func parseTickets(material []byte, now time.Time) ([]ticketKey, bool) {
	n := len(material) / ticketMaterialBytes
	if len(material)%ticketMaterialBytes != 0 || n < 1 || n > maxTicketKeys {
		return nil, false
	}
	keys := make([]ticketKey, n)
	for i := range keys {
		one := material[i*ticketMaterialBytes:]
		keys[i].made = time.Unix(int64(binary.BigEndian.Uint64(one)), 0) //nolint:gosec // compared below
		copy(keys[i].key[:], one[8:ticketMaterialBytes])
		if keys[i].made.After(now) || i > 0 && keys[i].made.After(keys[i-1].made) {
			return nil, false
		}
	}
	return keys, true
}

// Material returns the keys for the process that replaces this one. It is a
// secret of at most 320 bytes.
func (t *Tickets) Material() []byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	var m []byte
	for _, k := range t.keys {
		m = binary.BigEndian.AppendUint64(m, uint64(k.made.Unix())) //nolint:gosec // after 1970
		m = append(m, k.key[:]...)
	}
	return m
}

// current returns the keys, the one for new tickets first.
func (t *Tickets) current() [][ticketKeyBytes]byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	keys := make([][ticketKeyBytes]byte, len(t.keys))
	for i := range t.keys {
		keys[i] = t.keys[i].key
	}
	return keys
}

// renew puts a new key first and forgets those whose tickets nobody has any
// more.
func (t *Tickets) renew(now time.Time) error {
	next := ticketKey{made: now}
	if _, err := io.ReadFull(t.random, next.key[:]); err != nil {
		return fmt.Errorf("make a ticket key: %w", err)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	keys := []ticketKey{next}
	for _, k := range t.keys {
		if now.Sub(k.made) < ticketKeyLife+ticketKeyKnown && len(keys) < maxTicketKeys {
			keys = append(keys, k)
		}
	}
	t.keys = keys
	return nil
}

// due returns how long the key for new tickets is still good.
func (t *Tickets) due(now time.Time) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	return ticketKeyLife - now.Sub(t.keys[0].made)
}

// run makes a key every day, also across processes, and tells use of it, until
// ctx is done.
func (t *Tickets) run(ctx context.Context, use func([][ticketKeyBytes]byte)) error {
	for {
		if !lifecycle.Sleep(ctx, t.due(time.Now())) {
			return nil
		}
		if err := t.renew(time.Now()); err != nil {
			return err
		}
		use(t.current())
	}
}
