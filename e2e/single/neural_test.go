package single_test

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/api/jobdoc"
	"github.com/voicemill/voicemill/e2e/internal/caller"
	"github.com/voicemill/voicemill/e2e/internal/stage"
	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/testkit/weightstest"
)

// sentences is a job of n paragraphs that are spoken once.
func sentences(n int) map[string]any {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "Number %d left the harbour before the tide had turned.\n\n", i+1)
	}
	return map[string]any{"input": map[string]any{"text": b.String(), "media_type": job.MediaMarkdown}, "language": "en"}
}

// counted returns the sum of a counter's series that have label.
func counted(t *testing.T, s *stage.Solo, name, label string) (sum float64) {
	t.Helper()
	resp, err := http.Get(s.Admin() + "/metrics") //nolint:noctx // of this machine
	require.NoError(t, err)
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	series := regexp.MustCompile(`(?m)^` + name + `\{[^}]*` + regexp.QuoteMeta(label) + `[^}]*\} (\S+)$`)
	for _, m := range series.FindAllStringSubmatch(string(body), -1) {
		v, err := strconv.ParseFloat(m[1], 64)
		require.NoError(t, err)
		sum += v
	}
	return sum
}

// What is installed is taken without being told of; its voice is the default; and
// however often its helpers are killed, every segment is spoken once, uncharged.
func TestAJobOutlivesItsNeuralVoice(t *testing.T) {
	ctx := t.Context()
	kills := 2
	if v := os.Getenv("VOICEMILL_FAULT_ROUNDS"); v != "" {
		var err error
		kills, err = strconv.Atoi(v)
		require.NoError(t, err)
	}
	s := stage.NewSolo(t, bin, stage.SoloConfig{Env: []string{"VOICEMILL_MODELS_DIR=" + weightstest.Need(t, "joe").Dir()}})
	c := caller.New(t, s)
	doc, err := c.Submit(ctx, "", sentences(12*kills))
	require.NoError(t, err)
	for kill := range kills {
		_, err := c.Until(ctx, string(doc.ID), func(d jobdoc.Document) bool { return d.State.Final() || d.Progress.Segments.Done > kill })
		require.NoError(t, err)
		require.Positive(t, killHelpers(t, s), "no helper runs")
	}
	doc, err = c.Await(ctx, string(doc.ID))
	require.NoError(t, err)
	requireSucceeded(t, doc)
	require.Equal(t, doc.Progress.Segments.Total, doc.Progress.Segments.Done)
	require.InDelta(t, float64(doc.Progress.Segments.Total), counted(t, s, "voicemill_worker_segments_total", `outcome="spoken"`), 0, "each is spoken once")
	require.Zero(t, counted(t, s, "voicemill_worker_segments_total", `outcome="failed"`), "nothing is charged")
	t.Logf("killed helpers %d times under %d segments", kills, doc.Progress.Segments.Total)
}

// killHelpers kills every helper of a neural voice and returns how many there were.
func killHelpers(t *testing.T, s *stage.Solo) (killed int) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); killed == 0 && time.Now().Before(deadline); {
		for _, pid := range descendants(t, s.PID())[1:] {
			line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
			if err == nil && strings.Contains(string(line), "voicemill-neural") && syscall.Kill(pid, syscall.SIGKILL) == nil {
				killed++
			}
		}
	}
	return killed
}
