package s3d

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/netip"
	"sync"
	"syscall"
	"time"
)

const (
	headWithin   = 10 * time.Second // for the head of a request
	idleFor      = 60 * time.Second // between two requests of a connection
	stallAfter   = 30 * time.Second // for the next bytes of a body, in or out
	maxHeadBytes = 16 << 10
	publicConns  = 1536 // at the public address
	perPeer      = 1152 // of these, from one address: a gateway carries 1,024 bodies at once
	privateConns = 256  // beside them, for this process
	idleInside   = 64
	drainWithin  = 10 * time.Second
)

// door is the public address: it holds every connection to time limits, and
// every peer to its share, and hands requests on to the server behind, which
// knows no such limits. This process does not come through it.
type door struct {
	server *http.Server
	inside *passage
}

// passage are the connections to the server behind the door. It closes the one on which
// it refuses a body without reading it, which may show only when the next request is
// under way. One without a body is then sent again; a body cannot be, so that each has a
// connection that nobody used, on which the refusal is read to the end.
type passage struct{ kept, fresh *http.Transport }

func newPassage(dial func(context.Context) (net.Conn, error)) *passage {
	kept := &http.Transport{
		DialContext:        func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx) },
		DisableCompression: true, MaxIdleConns: idleInside, MaxIdleConnsPerHost: idleInside, IdleConnTimeout: idleFor,
		ExpectContinueTimeout: time.Second, WriteBufferSize: 32 << 10, ReadBufferSize: 32 << 10,
	}
	fresh := kept.Clone()
	fresh.DisableKeepAlives = true
	fresh.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
		c, err := dial(ctx)
		if err != nil {
			return nil, err
		}
		return &talker{c}, nil
	}
	return &passage{kept: kept, fresh: fresh}
}

// RoundTrip hands a request on.
func (p *passage) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body == nil || r.Body == http.NoBody {
		return p.kept.RoundTrip(r)
	}
	return p.fresh.RoundTrip(r)
}

// newDoor returns a door to the server that dial reaches.
func newDoor(dial func(context.Context) (net.Conn, error), log *slog.Logger) *door {
	inside := newPassage(dial)
	proxy := &httputil.ReverseProxy{
		Transport: inside, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL.Scheme, r.Out.URL.Host = "http", r.In.Host
			r.Out.Host = r.In.Host // which is signed
		},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusServiceUnavailable) },
	}
	return &door{inside: inside, server: &http.Server{
		Handler:           http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { serve(proxy, w, r) }),
		ReadHeaderTimeout: headWithin, IdleTimeout: idleFor, MaxHeaderBytes: maxHeadBytes, ErrorLog: proxy.ErrorLog,
	}}
}

// serve hands one request on; its body and its answer must move.
func serve(next http.Handler, w http.ResponseWriter, r *http.Request) {
	control := http.NewResponseController(w)
	if r.Body != nil && r.Body != http.NoBody {
		r.Body = &moving{ReadCloser: r.Body, control: control}
	}
	next.ServeHTTP(&steady{ResponseWriter: w, control: control}, r)
}

// talker is a connection on which one may talk on when nobody listens: why is still to
// be read.
type talker struct{ net.Conn }

// Write writes on.
func (t *talker) Write(p []byte) (int, error) {
	n, err := t.Conn.Write(p)
	if errors.Is(err, syscall.EPIPE) {
		return len(p), nil
	}
	return n, err
}

// moving is a body that ends with an error when nothing of it comes for a while.
type moving struct {
	io.ReadCloser
	control *http.ResponseController
}

// Read reads on. Once all has come there is nothing to wait for but the answer.
func (m *moving) Read(p []byte) (int, error) {
	_ = m.control.SetReadDeadline(time.Now().Add(stallAfter)) // a connection that is gone tells by itself
	n, err := m.ReadCloser.Read(p)
	_ = m.control.SetReadDeadline(time.Time{})
	return n, err
}

// steady is an answer whose client must take it.
type steady struct {
	http.ResponseWriter
	control *http.ResponseController
}

// Unwrap gives a controller what it needs.
func (s *steady) Unwrap() http.ResponseWriter { return s.ResponseWriter }

// Write writes on.
func (s *steady) Write(p []byte) (int, error) {
	_ = s.control.SetWriteDeadline(time.Now().Add(stallAfter)) // as in Read
	return s.ResponseWriter.Write(p)
}

// run serves what l accepts until stop; it returns nil then.
func (d *door) run(l net.Listener) error {
	err := d.server.Serve(newGuard(l))
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// stop closes the door: requests in hand are finished, within a limit.
func (d *door) stop(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, drainWithin)
	defer cancel()
	if d.server.Shutdown(ctx) != nil {
		_ = d.server.Close() // what is left is cut
	}
	d.inside.kept.CloseIdleConnections()
}

// guard closes the connections that are over the limits as they come.
type guard struct {
	net.Listener
	mu    sync.Mutex // guards what follows
	total int
	peers map[netip.Addr]int
}

func newGuard(l net.Listener) *guard { return &guard{Listener: l, peers: map[netip.Addr]int{}} }

// Accept returns the next connection that is within the limits.
func (g *guard) Accept() (net.Conn, error) {
	for {
		c, err := g.Listener.Accept()
		if err != nil {
			return nil, err
		}
		peer := addressOf(c)
		if !g.enter(peer) {
			_ = c.Close() // refused
			continue
		}
		return &guest{Conn: c, leave: sync.OnceFunc(func() { g.exit(peer) })}, nil
	}
}

func addressOf(c net.Conn) netip.Addr {
	at, err := netip.ParseAddrPort(c.RemoteAddr().String())
	if err != nil {
		return netip.Addr{} // all that have none share one
	}
	return at.Addr().Unmap().WithZone("")
}

func (g *guard) enter(peer netip.Addr) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.total >= publicConns || g.peers[peer] >= perPeer {
		return false
	}
	g.total++
	g.peers[peer]++
	return true
}

func (g *guard) exit(peer netip.Addr) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.total--
	if g.peers[peer]--; g.peers[peer] == 0 {
		delete(g.peers, peer)
	}
}

// guest is a connection that was let in.
type guest struct {
	net.Conn
	leave func()
}

// Close closes the connection and frees its place.
func (g *guest) Close() error {
	g.leave()
	return g.Conn.Close()
}
