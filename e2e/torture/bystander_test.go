package torture_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"

	"github.com/voicemill/voicemill/api/client/frames"
)

const bystanderPause = 20 * time.Millisecond

// bystanders are clients that behave, on connections that they keep. They must
// be answered whatever the others do.
type bystanders struct {
	g        *target
	cancel   context.CancelFunc
	wg       sync.WaitGroup
	answered atomic.Int64
	slowest  atomic.Int64 // nanoseconds

	mu       sync.Mutex
	failures []string // guarded by mu
}

// bystand starts them: over HTTP, HTTP in TLS, WebSocket and frames.
func bystand(ctx context.Context, g *target) *bystanders {
	ctx, cancel := context.WithCancel(ctx)
	b := &bystanders{g: g, cancel: cancel}
	for _, start := range []func(context.Context) (ask func() error, end func(), err error){
		b.http(g.s.URL, nil), b.http("https://"+g.addr, g.tls), b.webSocket, b.frames,
	} {
		b.wg.Go(func() { b.run(ctx, start) })
	}
	return b
}

func (b *bystanders) run(ctx context.Context, start func(context.Context) (func() error, func(), error)) {
	ask, end, err := start(ctx)
	if err != nil {
		b.fail(err)
		return
	}
	defer end()
	for {
		from := time.Now()
		err := ask()
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			b.fail(err)
			return
		}
		b.answered.Add(1)
		if took := int64(time.Since(from)); took > b.slowest.Load() {
			b.slowest.Store(took)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(bystanderPause):
		}
	}
}

func (b *bystanders) fail(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.failures = append(b.failures, err.Error())
}

// stop ends them and returns what went wrong.
func (b *bystanders) stop() []string {
	b.cancel()
	b.wg.Wait()
	return b.failures
}

func (b *bystanders) http(url string, secure *tls.Config) func(context.Context) (func() error, func(), error) {
	return func(ctx context.Context) (func() error, func(), error) {
		tr := &http.Transport{TLSClientConfig: secure}
		c := &http.Client{Transport: tr, Timeout: patience}
		return func() error {
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/v1/jobs/"+string(b.g.job), http.NoBody)
			if err != nil {
				return err
			}
			req.Header.Set("Authorization", "Bearer "+b.g.s.Key)
			resp, err := c.Do(req)
			if err != nil {
				return err
			}
			defer func() { _ = resp.Body.Close() }()
			if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != http.StatusOK {
				return fmt.Errorf("%s: status %d, %w", url, resp.StatusCode, err)
			}
			return nil
		}, tr.CloseIdleConnections, nil
	}
}

func (b *bystanders) webSocket(ctx context.Context) (func() error, func(), error) {
	c, _, err := websocket.Dial(ctx, "ws://"+b.g.addr+"/v1/connect", &websocket.DialOptions{ //nolint:bodyclose // a 101 has none
		Subprotocols: []string{"voicemill.v1.json"}, HTTPHeader: http.Header{"Authorization": {"Bearer " + b.g.s.Key}},
	})
	if err != nil {
		return nil, nil, fmt.Errorf("websocket: %w", err)
	}
	if _, _, err := c.Read(ctx); err != nil {
		return nil, nil, fmt.Errorf("websocket: %w", err)
	}
	return func() error {
		if err := c.Write(ctx, websocket.MessageText, fmt.Appendf(nil, `{"stream":1,"get":{"id":%q}}`, b.g.job)); err != nil {
			return fmt.Errorf("websocket: %w", err)
		}
		if _, _, err := c.Read(ctx); err != nil {
			return fmt.Errorf("websocket: %w", err)
		}
		return nil
	}, func() { _ = c.CloseNow() }, nil
}

func (b *bystanders) frames(ctx context.Context) (func() error, func(), error) {
	c, err := frames.Dial(ctx, frames.Config{Address: b.g.addr, Key: b.g.s.Key})
	if err != nil {
		return nil, nil, fmt.Errorf("frames: %w", err)
	}
	return func() error {
		if _, err := c.Job(ctx, b.g.job); err != nil {
			return fmt.Errorf("frames: %w", err)
		}
		return nil
	}, func() { _ = c.Close() }, nil
}
