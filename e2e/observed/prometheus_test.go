package observed_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// files is where what Prometheus and Grafana are told lies.
const files = "../../deployments/observability"

// prometheus is a running server.
type prometheus struct{ url string }

var (
	discovery = regexp.MustCompile(`dns_sd_configs: \[\{names: \[(\w+)\].*\}\]`)
	interval  = regexp.MustCompile(`(scrape|evaluation)_interval: 15s`)
	listening = regexp.MustCompile(`msg="Listening on" address=(\S+)`)
)

// startPrometheus runs Debian's Prometheus with the committed configuration, in
// which targets, by service, take the place of names, and a second that of 15.
func startPrometheus(t *testing.T, targets map[string]string) *prometheus {
	t.Helper()
	dir := t.TempDir()
	raw, err := os.ReadFile(filepath.Join(files, "prometheus.yml"))
	require.NoError(t, err)
	text := interval.ReplaceAllString(string(raw), "${1}_interval: 1s")
	seen := 0
	text = discovery.ReplaceAllStringFunc(text, func(found string) string {
		seen++
		return fmt.Sprintf("static_configs: [{targets: [%q]}]", targets[discovery.FindStringSubmatch(found)[1]])
	})
	require.Equal(t, len(targets), seen, "every service is a target")
	rules, err := filepath.Abs(files + "/rules")
	require.NoError(t, err)
	require.NoError(t, os.Symlink(rules, filepath.Join(dir, "rules")))
	config := filepath.Join(dir, "prometheus.yml")
	require.NoError(t, os.WriteFile(config, []byte(text), 0o600))

	cmd := exec.Command("prometheus", "--config.file="+config, "--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address=127.0.0.1:0") //nolint:noctx // ended below, in order
	out, err := cmd.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	addresses, read := make(chan string, 1), make(chan struct{})
	go func() { // reads until the process ends
		defer close(read)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			if m := listening.FindStringSubmatch(lines.Text()); m != nil {
				addresses <- m[1]
			}
			if strings.Contains(lines.Text(), "level=error") {
				t.Log(lines.Text())
			}
		}
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM) // it may have ended by itself, which Wait tells
		<-read
		require.NoError(t, cmd.Wait())
	})
	select {
	case address := <-addresses:
		return &prometheus{url: "http://" + address}
	case <-read:
		t.Fatal("Prometheus ended before it served")
		return nil
	}
}

// get reads the data of an answer of the API.
func (p *prometheus) get(ctx context.Context, path string, query url.Values, data any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url+path+"?"+query.Encode(), http.NoBody)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	answer := struct {
		Status, Error string
		Data          any
	}{Data: data}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		return fmt.Errorf("read %s, %d: %w", path, resp.StatusCode, err)
	}
	if answer.Status != "success" {
		return fmt.Errorf("%s %s: %s", path, query.Encode(), answer.Error)
	}
	return nil
}

// numbers returns how many series expr has now, and how many of them are numbers.
func (p *prometheus) numbers(ctx context.Context, expr string) (series, numbers int, err error) {
	var data struct {
		Result []struct{ Value [2]any }
	}
	if err := p.get(ctx, "/api/v1/query", url.Values{"query": {expr}}, &data); err != nil {
		return 0, 0, err
	}
	for _, r := range data.Result {
		if r.Value[1] != "NaN" {
			numbers++
		}
	}
	return len(data.Result), numbers, nil
}

// rule is one rule that Prometheus has read.
type rule struct{ Name, Query, Type, Health, LastError, State string }

func (p *prometheus) rules(ctx context.Context) ([]rule, error) {
	var data struct {
		Groups []struct{ Rules []rule }
	}
	err := p.get(ctx, "/api/v1/rules", nil, &data)
	var all []rule
	for _, g := range data.Groups {
		all = append(all, g.Rules...)
	}
	return all, err
}
