//go:build linux

package edge

import (
	"fmt"
	"sync"

	"golang.org/x/sys/unix"
)

// watcher reports when full sockets have room again, when there is input on
// descriptors of our own, and when their peers are gone. It is an epoll instance
// with one goroutine, which is in run; only congested connections and those that
// gnet does not read are in it.
type watcher struct {
	epoll int
	stop  int // eventfd

	mu    sync.Mutex
	conns map[int32]watched
	last  int32
}

type watched struct {
	c  *conn
	fd int
}

func newWatcher() (*watcher, error) {
	ep, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("create epoll instance: %w", err)
	}
	ev, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err == nil {
		err = unix.EpollCtl(ep, unix.EPOLL_CTL_ADD, ev, &unix.EpollEvent{Events: unix.EPOLLIN})
	}
	if err != nil {
		_ = unix.Close(ep)
		return nil, fmt.Errorf("create eventfd: %w", err)
	}
	return &watcher{epoll: ep, stop: ev, conns: make(map[int32]watched)}, nil
}

// watch asks for one report about fd: that one of events has come, which contain
// EPOLLONESHOT, or that its peer is gone. It returns the key for later calls; key
// is 0 the first time.
func (w *watcher) watch(key int32, c *conn, fd int, events uint32) (int32, error) {
	ev := unix.EpollEvent{Events: events, Pad: int32(fd)}
	op := unix.EPOLL_CTL_MOD
	w.mu.Lock()
	if key == 0 {
		op = unix.EPOLL_CTL_ADD
		for taken := true; taken; _, taken = w.conns[w.last] {
			w.last = max(w.last+1, 1)
		}
		key = w.last
		w.conns[key] = watched{c, fd}
	}
	w.mu.Unlock()
	ev.Fd = key // the key, because a descriptor may be reused while a report is under way
	if err := unix.EpollCtl(w.epoll, op, fd, &ev); err != nil {
		return key, fmt.Errorf("watch descriptor: %w", err)
	}
	return key, nil
}

// forget ends the reports for key. It must be called before fd is closed.
func (w *watcher) forget(key int32, fd int) {
	if key == 0 {
		return
	}
	_ = unix.EpollCtl(w.epoll, unix.EPOLL_CTL_DEL, fd, &unix.EpollEvent{})
	w.mu.Lock()
	delete(w.conns, key)
	w.mu.Unlock()
}

// run reports until close is called.
func (w *watcher) run() error {
	events := make([]unix.EpollEvent, 128)
	for {
		n, err := unix.EpollWait(w.epoll, events, -1)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return fmt.Errorf("wait for events: %w", err)
		}
		for _, ev := range events[:n] {
			if ev.Fd == 0 {
				return nil
			}
			w.mu.Lock()
			it, ok := w.conns[ev.Fd]
			w.mu.Unlock()
			if !ok {
				continue
			}
			note := noteRoom
			if ev.Events&unix.EPOLLIN != 0 {
				note |= noteInput
			}
			if ev.Events&(unix.EPOLLERR|unix.EPOLLHUP) != 0 {
				note |= noteGone
			}
			it.c.loop.notify(it.c, note)
		}
	}
}

// end makes run return.
func (w *watcher) end() {
	_, _ = unix.Write(w.stop, []byte{1, 0, 0, 0, 0, 0, 0, 0})
}

// close frees the descriptors, after run has returned.
func (w *watcher) close() {
	_ = unix.Close(w.stop)
	_ = unix.Close(w.epoll)
}
