package edge

import (
	"errors"
	"net/http"
	"strconv"

	"github.com/voicemill/voicemill/gateway/internal/http1"
)

var errPlain = &http1.Error{Status: http.StatusBadRequest, Public: "This port speaks TLS only."}

// framesPreface is how a connection of binary frames starts.
const framesPreface = "VML1"

// framesProtocol is its name in ALPN.
const framesProtocol = "vml1"

// protocol is what the first bytes of a connection say.
type protocol uint8

const (
	protocolUnknown protocol = iota // more bytes are needed
	protocolHTTP
	protocolFrames
	protocolTLS
)

// classify tells protocols apart by the first bytes. Everything that is nothing
// else is HTTP, whose parser refuses what it does not understand.
func classify(data []byte, withTLS, withFrames bool) protocol {
	n := min(len(data), len(framesPreface))
	switch {
	case n == 0:
		return protocolUnknown
	case withTLS && data[0] == recordHandshake:
		return protocolTLS
	case !withFrames || string(data[:n]) != framesPreface[:n]:
		return protocolHTTP
	case n == len(framesPreface):
		return protocolFrames
	}
	return protocolUnknown
}

// sniff decides what the connection speaks. It returns what is left for it.
func (c *conn) sniff(data []byte) []byte {
	plain := c.tls == nil && c.srv.certs != nil // and could become TLS
	what := classify(data, plain, c.srv.cfg.Frames != nil)
	switch {
	case what == protocolTLS && !wholeHello(data):
		return data // no goroutine waits for it
	case what == protocolTLS:
		c.startTLS(data)
		return nil
	case plain && c.srv.cfg.TLS.Only:
		c.become(phaseHTTP)
		c.discards += len(data)
		c.refuse(errPlain)
		return nil
	case what == protocolHTTP:
		c.become(phaseHTTP)
	case what == protocolFrames:
		c.upgrade(c.srv.cfg.Frames)
	}
	return data
}

// readRequests parses and serves requests until data is used up or the
// connection must wait. It returns the rest.
func (c *conn) readRequests(data []byte) []byte {
	for len(data) > 0 && c.phase == phaseHTTP {
		if c.body != nil {
			if data = c.readBody(data); c.body != nil {
				return data
			}
			continue
		}
		if c.noMore {
			c.discards += len(data)
			return nil
		}
		if c.stalled() {
			return data
		}
		if c.cur == nil {
			c.cur = c.loop.take(c)
		}
		n, done, err := c.parser.Parse(&c.cur.req, data)
		data = data[n:]
		if err != nil {
			c.discards += len(data) + 1
			c.refuse(err)
			return nil
		}
		if !done {
			c.partial()
			return nil
		}
		ex := c.cur
		c.cur, c.stage, c.interim, c.continued = nil, http1.StageIdle, false, false
		if c.parser.Stage() == http1.StageLeft {
			c.beginBody(ex)
			data = c.readBody(data) // a body that is here needs no reader to be whole
		}
		c.dispatch(ex)
		c.handled()
	}
	return data
}

// partial notes when the stages of an incomplete request began, and whether its
// client waits for 100 (Continue).
func (c *conn) partial() {
	if stage := c.parser.Stage(); stage != c.stage {
		c.stage, c.stageAt = stage, c.loop.clock
		c.interim = stage == http1.StageBody && c.cur.req.ExpectContinue()
	}
}

// dispatch queues a complete request and gives it to the handler.
func (c *conn) dispatch(ex *Exchange) {
	l := c.loop
	req := &ex.req
	c.lastUse = l.clock
	ex.readAt, ex.started = l.clock, l.now
	ex.head, ex.minor, ex.keep = req.Method() == http.MethodHead, uint8(req.Minor()), req.KeepAlive()
	if !ex.keep {
		c.noMore = true
	}
	switch {
	case ex.body != nil:
		c.exclusive, c.upload = true, true
	case req.Upgrade():
		c.exclusive, ex.upgradable = true, true
	}
	c.queue(ex)
	c.srv.stats.Requests.Add(1)
	c.serve(ex)
	if ex.settled.Load() && ex.spent() {
		l.recycle(ex)
		return
	}
	if !req.Detached() {
		req.Invalidate()
		return
	}
	c.mu.Lock()
	if ex.state == exchangeOpen {
		ex.held = req.Held()
		c.queuedBytes += ex.held
	}
	c.mu.Unlock()
}

// serve calls the handler. A panic in it costs the client this request and the
// connection.
func (c *conn) serve(ex *Exchange) {
	defer func() {
		if r := recover(); r != nil {
			c.srv.panicked(r, "handler")
			c.noMore = true
			ex.Respond(c.refusal(ex, http.StatusInternalServerError, "The server failed to handle this request."))
			c.lastOne()
		}
	}()
	c.srv.handler.ServeEdge(ex)
}

// refuse answers a request that could not be read, after those before it, and
// reads no more.
func (c *conn) refuse(err error) {
	e := &http1.Error{Status: http.StatusBadRequest, Public: "The request is malformed."}
	errors.As(err, &e)
	c.answerRefusal(e.Status, e.Public)
}

// answerRefusal is the last answer on a connection.
func (c *conn) answerRefusal(status int, public string) {
	ex := c.cur
	if ex == nil {
		ex = c.loop.take(c)
	}
	c.cur, c.noMore, c.interim = nil, true, false
	c.discards++ // the client may be sending still
	c.stage = http1.StageIdle
	ex.minor, ex.readAt, ex.started = 1, c.loop.clock, c.loop.now
	c.srv.stats.Refused.Add(1)
	c.queue(ex)
	ex.Respond(c.refusal(nil, status, public))
}

// refusal is an answer of ours; ex is nil if the handler does not know the request.
func (c *conn) refusal(ex *Exchange, status int, public string) http1.Response {
	r := c.srv.cfg.Refusal(Refused{Remote: c.remote, Status: status, Public: public, Request: ex})
	r.Close = true
	return r
}

// problem is the default refusal, an RFC 9457 document.
func problem(refused Refused) http1.Response {
	b := make([]byte, 0, 160)
	b = append(b, `{"type":"about:blank","title":`...)
	b = strconv.AppendQuote(b, http.StatusText(refused.Status))
	b = append(b, `,"status":`...)
	b = strconv.AppendInt(b, int64(refused.Status), 10)
	b = append(b, `,"detail":`...)
	b = strconv.AppendQuote(b, refused.Public)
	b = append(b, "}\n"...)
	return http1.Response{
		Status: refused.Status,
		Header: []http1.Field{{Name: "Content-Type", Value: "application/problem+json"}},
		Body:   b,
	}
}
