package restart_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/coder/websocket"

	"github.com/voicemill/voicemill/api/client"
	"github.com/voicemill/voicemill/api/client/frames"
	"github.com/voicemill/voicemill/api/jobdoc"
	"github.com/voicemill/voicemill/job"
)

// watcher follows one job after the other, each until its end.
type watcher struct{ l *load }

// A watch tells seen of the events of a job after a version, until it ends. It
// returns nil when the server ended it as it should, with the last event or
// because it restarts.
type watch func(id job.ID, after int64, seen func(jobdoc.Event)) error

func (w watcher) run(once watch) {
	for before := job.ID(""); ; {
		id := w.l.newest()
		if id != before {
			w.follow(id, once)
		}
		before = id
		select {
		case <-w.l.stopping:
			return
		case <-w.l.ctx.Done():
			return
		case <-time.After(again):
		}
	}
}

// follow watches a job until its last event and comes back after every
// interruption.
func (w watcher) follow(id job.ID, once watch) {
	version, ended := int64(0), false
	seen := func(e jobdoc.Event) {
		if e.Version < version || e.Version == version && version > 0 || ended { // 0: accepted, not in the database yet
			w.l.fail("watch of %s: version %d came after %d", id, e.Version, version)
		}
		version, ended = e.Version, e.State.Final()
		w.l.events.Add(1)
	}
	for !ended {
		err := once(id, version, seen)
		switch {
		case ended:
		case w.l.ctx.Err() != nil:
			w.l.fail("watch of %s: no end after version %d", id, version)
			return
		case err == nil:
			w.l.resumed.Add(1)
		case w.l.patient:
			w.l.repeated.Add(1)
		default:
			w.l.fail("watch of %s after version %d: %v", id, version, err)
		}
		if !ended {
			w.l.pause()
		}
	}
	w.l.watched.Add(1)
}

// webSocket watches over /live.
func (w watcher) webSocket(id job.ID, after int64, seen func(jobdoc.Event)) error {
	url := strings.Replace(w.l.url, "http", "ws", 1) + "/v1/jobs/" + string(id) + "/live?after_version=" + strconv.FormatInt(after, 10)
	c, _, err := websocket.Dial(w.l.ctx, url, &websocket.DialOptions{ //nolint:bodyclose // a 101 has none
		Subprotocols: []string{"voicemill.v1.json"}, HTTPClient: w.l.fresh, HTTPHeader: http.Header{"Authorization": {"Bearer " + w.l.key}},
	})
	if err != nil {
		return err
	}
	defer func() { _ = c.CloseNow() }()
	for {
		_, raw, err := c.Read(w.l.ctx)
		if code := websocket.CloseStatus(err); code == websocket.StatusNormalClosure || code == websocket.StatusServiceRestart {
			return nil
		}
		if err != nil {
			return err
		}
		var m struct {
			Event *jobdoc.Event `json:"event"`
		}
		if err := json.Unmarshal(raw, &m); err != nil {
			return err
		}
		if m.Event != nil {
			seen(*m.Event)
		}
	}
}

var errStatus = errors.New("not the status that was expected")

// serverSent watches over /events.
func (w watcher) serverSent(id job.ID, after int64, seen func(jobdoc.Event)) error {
	ctx, cancel := context.WithCancel(w.l.ctx)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, w.l.url+"/v1/jobs/"+string(id)+"/events", http.NoBody)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+w.l.key)
	req.Header.Set("Last-Event-ID", strconv.FormatInt(after, 10))
	resp, err := (&http.Client{Transport: w.l.fresh.Transport}).Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%w: %d", errStatus, resp.StatusCode)
	}
	for r := bufio.NewReader(resp.Body); ; {
		line, err := r.ReadString('\n')
		if errors.Is(err, io.EOF) {
			return nil // the last chunk came: not cut
		}
		if err != nil {
			return err
		}
		if data, ok := strings.CutPrefix(line, "data: "); ok {
			var e jobdoc.Event
			if err := json.Unmarshal([]byte(data), &e); err != nil {
				return err
			}
			seen(e)
		}
	}
}

// frames watches over the binary carrier.
func (w watcher) frames(id job.ID, after int64, seen func(jobdoc.Event)) error {
	c, err := frames.Dial(w.l.ctx, frames.Config{Address: w.l.address, Key: w.l.key, TLS: w.l.secure})
	if err == nil {
		defer func() { _ = c.Close() }()
		err = c.Watch(w.l.ctx, id, after, seen)
	}
	if p, ok := errors.AsType[*client.Problem](err); ok && p.Status == http.StatusServiceUnavailable {
		return nil
	}
	return err
}
