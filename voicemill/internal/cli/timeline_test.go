package cli_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/platform/blob"
)

func TestTheTimelineIsToldBySentencesAndByWords(t *testing.T) {
	t.Parallel()
	m := startGateway(t, nil)
	id := strings.TrimSpace(m.run(t, "Hello.", "submit", "-").out)
	got := m.run(t, "", "timeline", id)
	require.Equal(t, 4, got.code, got.errOut)
	require.Contains(t, got.errOut, "no timeline")

	const manifest = `{"job":"j","state":"succeeded","title":"T","language":"en","chapters":[
{"ordinal":1,"title":"One","artifact":"chapter-001.wav","sample_rate":1000,"start_seconds":0,"audio_seconds":70,"segments":[
{"n":1,"text":"Hello there. Yes.","voice":"v","language":"en","start_sample":0,"samples":66000,"sentences":[[0,12,0],[13,17,65250]],"words":[[0,5,0],[6,11,500],[13,16,65250]]},
{"n":2,"text":"bad","voice":"v","language":"en"}]}],"totals":{}}`
	_, err := m.bucket.Put(t.Context(), "jobs/default/x/manifest.json", strings.NewReader(manifest), int64(len(manifest)), blob.PutOptions{})
	require.NoError(t, err)
	m.exec(t, `insert into jobs (id, tenant_id, class, state, spec, on_failure, accepted_at) values ($1, 'default', 'bulk', 'accepted', '{}', 'fail', now()) on conflict do nothing`, id)
	m.exec(t, `insert into artifacts (job_id, name, media_type, object_key, bytes, sha256) values ($1, 'manifest.json', 'application/json', 'jobs/default/x/manifest.json', $2, sha256(''))`, id, len(manifest))
	got = m.run(t, "", "timeline", id)
	require.Zero(t, got.code, got.errOut)
	require.Equal(t, "  1    0:00.000  Hello there.\n  1    1:05.250  Yes.\n  1           -  bad\n", got.out)
	require.Contains(t, m.run(t, "", "timeline", id, "--words").out, "  1    0:00.500  there\n")
	require.Equal(t, 4, m.run(t, "", "timeline", id, "--chapter", "2").code)
	require.Equal(t, 2, m.run(t, "", "timeline", id, "--chapter", "-1").code)
	require.True(t, json.Valid([]byte(m.run(t, "", "timeline", id, "--json").out)))
}
