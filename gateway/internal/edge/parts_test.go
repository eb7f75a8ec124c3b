package edge

import (
	"bytes"
	"io"
	"strings"
	"testing"
)

func answered(r *replies, ex *Exchange, text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	b := r.bufferLocked(ex)
	b.b = append(b.b, text...)
	ex.state = exchangeAnswered
	r.parkLocked(ex)
	if r.first == ex {
		r.advanceLocked()
	}
}

func TestRepliesLeaveInTheOrderOfTheirRequests(t *testing.T) {
	t.Parallel()
	r := &replies{buffers: &buffers{}}
	list := []*Exchange{{}, {}, {}}
	for _, ex := range list {
		r.queue(ex)
	}
	answered(r, list[2], "three")
	answered(r, list[1], "two,")
	if r.out != nil || r.parkedBytes != len("two,three") || r.inFlight != 3 {
		t.Fatalf("out %v, %d parked, %d in flight before the first was answered", r.out, r.parkedBytes, r.inFlight)
	}
	answered(r, list[0], "one,")
	if got := string(r.out.b); got != "one,two,three" {
		t.Errorf("out is %q", got)
	}
	if r.parkedBytes != 0 || r.inFlight != 0 || r.first != nil || r.last != nil {
		t.Errorf("%d parked, %d in flight after all were answered", r.parkedBytes, r.inFlight)
	}
}

func TestNothingFollowsTheLastReply(t *testing.T) {
	t.Parallel()
	r := &replies{buffers: &buffers{}}
	first, second := &Exchange{closes: true}, &Exchange{}
	r.queue(first)
	r.queue(second)
	answered(r, second, "two")
	answered(r, first, "one")
	if got := string(r.out.b); got != "one" || !r.leave || r.cut {
		t.Errorf("out is %q, leave %t, cut %t", got, r.leave, r.cut)
	}
	r = &replies{buffers: &buffers{}}
	r.queue(first)
	r.queue(second)
	r.lastOne()
	if r.leave || !second.closes {
		t.Error("the last request that waits is not the last")
	}
	r = &replies{}
	if r.lastOne(); !r.leave {
		t.Error("a connection that owes nothing does not leave")
	}
}

func TestWhoAsksForRoomIsToldWhenNothingWaits(t *testing.T) {
	t.Parallel()
	r := &replies{buffers: &buffers{}}
	if r.askRoomLocked(func() {}) {
		t.Error("there is room already")
	}
	r.outLocked().b = []byte("x")
	if !r.askRoomLocked(func() {}) || len(r.onRoom) != 1 {
		t.Error("nobody is told")
	}
	r.gone = true
	if r.askRoomLocked(func() {}) {
		t.Error("a connection that is gone tells nobody")
	}
}

func TestATurnEndsAndSaysWhatCameMeanwhile(t *testing.T) {
	t.Parallel()
	var own turn
	for range turnRequests {
		if own.waits {
			t.Fatal("the turn was over early")
		}
		own.serve()
	}
	if !own.waits || own.ahead {
		t.Fatalf("waits %t, ahead %t", own.waits, own.ahead)
	}
	if own.offered(); !own.ahead || !own.waits {
		t.Error("input while it waits begins no turn")
	}
	own.beginTurn()
	if own.waits || own.served != 0 {
		t.Error("the next turn has not begun")
	}
}

func TestTheBacklogIsBounded(t *testing.T) {
	t.Parallel()
	var r reader
	if !r.keep([]byte("abc"), 5) || !r.keep([]byte("de"), 5) || r.keep([]byte("f"), 5) {
		t.Errorf("backlog is %q", r.backlog)
	}
	r.left(r.backlog[3:])
	if string(r.backlog) != "de" {
		t.Errorf("left is %q", r.backlog)
	}
	if r.left(nil); r.backlog != nil {
		t.Error("an empty backlog holds memory")
	}
}

func TestATransportWritesWhatTheSocketTakes(t *testing.T) {
	t.Parallel()
	near, far, err := socketPair()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = near.Close(); _ = far.Close() }()
	raw, err := near.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	all := []byte(strings.Repeat("x", 4<<20))
	out := &transport{wire: &buffer{b: bytes.Clone(all)}}
	step := func() (sent int, ok bool) {
		if err := raw.Control(func(fd uintptr) { out.fd = int(fd); sent, ok = out.write() }); err != nil { //nolint:gosec // a descriptor
			t.Fatal(err)
		}
		return sent, ok
	}
	sent, ok := step()
	if !ok || sent == 0 || sent == len(all) || out.left() != len(all)-sent {
		t.Fatalf("sent %d of %d, ok %t, left %d", sent, len(all), ok, out.left())
	}
	got := make([]byte, 0, len(all))
	for piece := make([]byte, 1<<20); len(got) < len(all); {
		n, err := io.ReadAtLeast(far, piece[:min(len(piece), len(all)-len(got))], 1)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, piece[:n]...)
		if out.left() > 0 {
			out.compact()
			if _, ok := step(); !ok {
				t.Fatal("the socket broke")
			}
		}
	}
	if !bytes.Equal(got, all) {
		t.Error("what arrived differs")
	}
	_ = far.Close()
	out.wire, out.wireOff = &buffer{b: []byte("x")}, 0
	if _, ok := step(); ok {
		t.Error("a socket whose peer is gone is taken for one that is full")
	}
}
