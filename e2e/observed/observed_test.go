package observed_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/e2e/internal/caller"
	"github.com/voicemill/voicemill/e2e/internal/stage"
	"github.com/voicemill/voicemill/job"
)

var bin string // the folder with the built commands

func TestMain(m *testing.M) { os.Exit(stage.Main(m, &bin)) }

const testLimit = 2 * time.Minute

type server struct{ url, key string }

func (s server) URL() string { return s.url }
func (s server) Key() string { return s.key }

// Every expression of the dashboard and every recording rule has an answer, and
// every series that an alert looks at is there, once a job was spoken and another
// refused; nothing is said to be missing.
func TestEveryQuestionHasAnAnswer(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeoutCause(t.Context(), testLimit, fmt.Errorf("the test's limit of %s is spent", testLimit))
	defer cancel()
	s := stage.New(t, bin)
	p := startPrometheus(t, map[string]string{"gateway": s.Admin(stage.Gateway), "scheduler": s.Admin(stage.Scheduler), "worker": s.Admin(stage.Worker)})
	p.await(ctx, t, `count(up{job=~"voicemill-.*"} == 1) == 3`) // before anything is counted
	work(ctx, t, caller.New(t, server{s.URL, s.Key}))

	exprs := dashboard(t)
	require.Greater(t, len(exprs), 40)
	rules, err := p.rules(ctx)
	require.NoError(t, err)
	for _, r := range rules {
		if r.Type == "recording" {
			exprs = append(exprs, r.Name, r.Query)
			continue
		}
		for _, name := range series.FindAllString(r.Query, -1) {
			exprs = append(exprs, fmt.Sprintf("count(%s)", name))
		}
	}
	for _, expr := range exprs {
		p.await(ctx, t, expr)
	}

	rules, err = p.rules(ctx)
	require.NoError(t, err)
	require.Greater(t, len(rules), 30)
	for _, r := range rules {
		require.Equal(t, "ok", r.Health, "%s: %s", r.Name, r.LastError)
		switch r.Name {
		case "VoicemillTargetDown", "VoicemillServiceMissing", "VoicemillLeaderMissing", "VoicemillLeadersMany", "VoicemillPanic":
			require.Equal(t, "inactive", r.State, r.Name)
		}
	}
}

// series is what an expression selects: names of ours, recorded ones among them.
var series = regexp.MustCompile(`\bvoicemill[_:][a-z0-9_:]+|\bup\b`)

// work has something of everything happen: speech, a callback that is taken and
// one that is not, a request that is refused.
func work(ctx context.Context, t *testing.T, call *caller.Caller) {
	t.Helper()
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/broken") {
			w.WriteHeader(http.StatusInternalServerError)
		}
	}))
	t.Cleanup(receiver.Close)
	for i, path := range []string{"/fine", "/broken"} {
		doc, err := call.Submit(ctx, fmt.Sprint("observed-", i), map[string]any{
			"input": map[string]any{"text": fmt.Sprintf("Line %d is spoken, and somebody counts.", i)}, "language": "en", "class": "interactive",
			"callback": map[string]any{"url": receiver.URL + path},
		})
		require.NoError(t, err)
		doc, err = call.Await(ctx, string(doc.ID))
		require.NoError(t, err)
		require.Equal(t, job.StateSucceeded, doc.State)
	}
	a, err := call.Do(ctx, http.MethodGet, "/v1/jobs/job_nobody", nil)
	require.NoError(t, err)
	require.Equal(t, http.StatusNotFound, a.Status)
}

// dashboard returns every expression of Grafana's dashboard, as Grafana sends it.
func dashboard(t *testing.T) (exprs []string) {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(files, "grafana/dashboards/voicemill.json"))
	require.NoError(t, err)
	var board struct {
		Panels []struct{ Targets []struct{ Expr string } }
	}
	require.NoError(t, json.Unmarshal(raw, &board))
	for _, panel := range board.Panels {
		for _, target := range panel.Targets {
			exprs = append(exprs, strings.ReplaceAll(target.Expr, "$__rate_interval", "1m"))
		}
	}
	return exprs
}

// await asks until expr has a number for an answer.
func (p *prometheus) await(ctx context.Context, t *testing.T, expr string) {
	t.Helper()
	for {
		n, numbers, err := p.numbers(ctx, expr)
		if numbers > 0 {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("%s has %d series and no number: %v %v", expr, n, err, context.Cause(ctx))
		case <-time.After(200 * time.Millisecond):
		}
	}
}
