package single_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/e2e/internal/caller"
	"github.com/voicemill/voicemill/e2e/internal/stage"
)

func TestAThousandJobsGoInAsLinesAndComeOutAsAudio(t *testing.T) {
	t.Parallel()
	ctx := limited(t)
	s := stage.NewSolo(t, bin, stage.SoloConfig{})
	c := caller.New(t, s)

	const jobs, bad = 1000, 500
	var body strings.Builder
	for n := range jobs {
		if n+1 == bad {
			body.WriteString("This line is no JSON.\n")
		}
		fmt.Fprintf(&body, `{"input":{"text":"This is text %d."},"language":"en","labels":{"n":"%d"}}`+"\n", n%40, n)
	}
	submit := func() []string {
		before := time.Now()
		answer, err := c.Do(ctx, http.MethodPost, "/v1/jobs:batch", []byte(body.String()), "Content-Type", "application/x-ndjson", "Idempotency-Key", "thousand")
		require.NoError(t, err)
		require.Equal(t, http.StatusOK, answer.Status, "%s", answer.Body)
		t.Logf("%d lines answered in %s", jobs+1, time.Since(before).Round(time.Millisecond))
		var ids []string
		n := 0
		for raw := range bytes.Lines(answer.Body) {
			n++
			var l struct {
				Line, Status int
				ID           string
			}
			require.NoError(t, json.Unmarshal(raw, &l))
			require.Equal(t, n, l.Line)
			if n == bad {
				require.Equal(t, http.StatusBadRequest, l.Status)
				continue
			}
			require.Equal(t, http.StatusAccepted, l.Status, "%s", raw)
			ids = append(ids, l.ID)
		}
		require.Len(t, ids, jobs)
		return ids
	}
	ids := submit()
	require.Equal(t, ids, submit(), "the same batch again is the same jobs")

	db := open(ctx, t, s)
	for done := 0; done < jobs; {
		require.NoError(t, db.QueryRow(ctx, `select count(*) from jobs where state = 'succeeded'`).Scan(&done))
		select {
		case <-ctx.Done():
			require.NoError(t, ctx.Err(), "%d jobs are done", done)
		case <-time.After(200 * time.Millisecond):
		}
	}
	require.Equal(t, jobs, rows(ctx, t, db)["jobs"])
	for n := 0; n < jobs; n += 333 {
		doc, err := c.Await(ctx, ids[n])
		require.NoError(t, err)
		require.Equal(t, fmt.Sprint(n), doc.Labels["n"])
		audio, err := c.Artifact(ctx, ids[n], doc.Artifacts[0].Name)
		require.NoError(t, err)
		require.Greater(t, len(audio), 20_000)
	}
}
