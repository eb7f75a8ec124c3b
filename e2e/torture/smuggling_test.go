package torture_test

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/voicemill/voicemill/platform/testkit/corpus"
)

const (
	between   = time.Millisecond // between two pieces, so that they are read apart
	mostParts = 6
)

// smuggle sends every case of the corpus with a request behind it, in several
// random pieces, and counts the answers.
func smuggle(t *testing.T, g *target) (cases int) {
	t.Helper()
	return g.smuggleAll(t, corpus.Smuggling())
}

// smuggleStreamed does it with the cases that have a body, to where bodies are
// read while they arrive.
func smuggleStreamed(t *testing.T, g *target) (cases int) {
	t.Helper()
	all := corpus.Smuggling()
	const post = "POST / HTTP/1.1\r\nHost: h\r\n"
	for name, c := range all {
		if !strings.HasPrefix(c.Raw, post) || c.Status == http.StatusRequestEntityTooLarge { // a streamed body may be of any size
			delete(all, name)
			continue
		}
		c.Raw = "POST /v1/jobs:batch HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer " + g.s.Key + "\r\nContent-Type: application/x-ndjson\r\n" + c.Raw[len(post):]
		all[name] = c
	}
	return g.smuggleAll(t, all)
}

func (g *target) smuggleAll(t *testing.T, all map[string]corpus.Smuggle) (cases int) {
	t.Helper()
	times := 1
	if g.full {
		times = 4
	}
	each(t, all, func(_ string, c corpus.Smuggle) error {
		for n := range times {
			rng := rand.New(rand.NewPCG(uint64(n), uint64(len(c.Raw)))) //nolint:gosec // repeatable
			if err := g.smuggleOne(c, rng); err != nil {
				return fmt.Errorf("RFC %s: %w", c.RFC, err)
			}
		}
		return nil
	})
	return len(all) * times
}

func (g *target) smuggleOne(c corpus.Smuggle, rng *rand.Rand) error {
	conn, err := g.dial()
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	raw, want := c.Raw, 2
	method, _, _ := strings.Cut(strings.TrimLeft(raw, "\r\n"), " ")
	methods := []string{method}
	if raw[0] == 0x16 { // as the first byte of a connection it would be TLS
		raw = g.status() + raw
		methods, want = nil, 3
	}
	if c.Status != 0 {
		want--
	}
	go func() { // ends with the connection
		_ = inPieces(conn, raw+g.status("X-Request-Id: canary", "Connection: close"), rng)
	}()
	answers, err := readAnswers(conn, methods...)
	if err != nil {
		return err
	}
	if len(answers) != want {
		return fmt.Errorf("%d answers; want %d", len(answers), want)
	}
	last := answers[len(answers)-1]
	canary := last.header.Get("X-Request-Id") == "canary"
	switch {
	case c.Status == 0 && (!canary || last.status != http.StatusOK):
		return fmt.Errorf("the request behind was not answered, but %d came", last.status)
	case c.Status != 0 && (canary || last.status != c.Status):
		return fmt.Errorf("status %d; want %d and the end", last.status, c.Status)
	}
	return nil
}

// inPieces writes s cut at random points, whole without rng.
func inPieces(w io.Writer, s string, rng *rand.Rand) error {
	n := 0
	if rng != nil {
		n = rng.IntN(mostParts)
	}
	for ; n > 0 && len(s) > 1; n-- {
		at := 1 + rng.IntN(len(s)-1)
		if _, err := io.WriteString(w, s[:at]); err != nil {
			return err
		}
		s = s[at:]
		<-time.After(between)
	}
	_, err := io.WriteString(w, s)
	return err
}
