package gateway_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/api/client"
	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/testkit"
)

func TestNobodyIsAskedToHearWhereThereIsNoEar(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	a := w.call("POST", "/v1/jobs", `{"input":{"text":"Hello."},"verify":"all","on_doubt":"deliver"}`)
	require.Equal(t, http.StatusUnprocessableEntity, a.Status, "%s", a.Body)
	require.Contains(t, string(a.Body), "/verify")
	require.Contains(t, string(a.Body), "no worker here has an ear")
	w.submitted(`{"input":{"text":"Hello."},"verify":"none"}`)
}

func TestWhatWasHeardIsInTheDocumentAndInItsSegments(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	id := w.submitted(hello)
	w.plan(id, 2)
	testkit.SetSegment(t, w.db, id, 1, job.SegmentDone, 1, "", "")
	w.exec(`insert into renditions (key, tenant, sample_rate, samples, bytes, sha256, hearing) select $1, num, 22050, 22050, 44144, $1, $2 from tenants where id = 'default'`,
		make([]byte, 32), `{"kind": "missing", "words": 4, "errors": 2, "heard": "Segment", "tries": 3}`)
	page, err := w.client(w.key).Segments(t.Context(), id, client.SegmentOptions{})
	require.NoError(t, err)
	require.Equal(t, "missing", page.Items[0].Verdict)
	require.Equal(t, "Segment", *page.Items[0].Heard)
	require.Equal(t, 3, page.Items[0].Tries)
	require.Nil(t, page.Items[1].Heard)

	w.exec(`update jobs set quality = $2, version = version + 1 where id = $1`, id, `{"verify": "all", "segments": 2, "heard": 1, "heard_share": 0.5, "redone": 1, "words": 4,
		"word_errors": 2, "word_error_rate": 0.5, "doubtful": 1, "stretches": [{"segment": 1, "chapter": 1, "start_seconds": 0, "kind": "missing", "text": "Segment 1", "heard": "Segment", "tries": 3}]}`)
	require.Nil(t, w.call("GET", "/v1/jobs/"+string(id), "").job(t).Quality, "it is of a job that has ended")
	w.exec(`update jobs set state = 'failed', error_kind = 'engine', finished_at = now(), version = version + 1 where id = $1`, id)
	require.Eventually(t, func() bool { return w.call("GET", "/v1/jobs/"+string(id), "").job(t).Quality != nil }, time.Minute, 10*time.Millisecond)
	q := w.call("GET", "/v1/jobs/"+string(id), "").job(t).Quality
	require.Equal(t, job.VerifyAll, q.Verify)
	require.Equal(t, "Segment 1", q.Stretches[0].Text)
}
