package timeline_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/gateway/internal/timeline"
)

const manifest = `{"format":"voicemill manifest 1","job":"job_1","state":"partial","title":"A & B","language":"en","files":[{"name":"x"}],"chapters":[
{"ordinal":1,"title":"One","artifact":"chapter-001.wav","sample_rate":1000,"start_seconds":0,"audio_seconds":3.5,"segments":[
{"n":1,"text":"“Go,” he said. Now!","voice":"v","language":"en","source":{"document":"a.xhtml","start":3,"end":9},"start_sample":250,"samples":1000,"sentences":[[0,18,250],[19,23,1000]],"words":[[3,5,250],[10,12,500],[13,17,700],[19,22,1000]]},
{"n":2,"text":"bad","voice":"v","language":"en"}]},
{"ordinal":2,"title":"Two","artifact":"chapter-002.wav","sample_rate":3,"start_seconds":3.5,"audio_seconds":2,"segments":[
{"n":3,"text":"<End> of it","voice":"w","language":"de","start_sample":1,"samples":2,"words":[[1,4,1]],"words_by":"proportion"}],"later":{"a":[1]}},
{"ordinal":3,"title":"Three","start_seconds":5.5,"segments":[]}],"totals":{},
"signature":{"key":"k","ed25519":"s"}}
`

func write(t *testing.T, manifest string, chapter int) (string, error) {
	t.Helper()
	tl, err := timeline.Open(iotest.OneByteReader(strings.NewReader(manifest)), chapter)
	if err != nil {
		return "", err
	}
	var b bytes.Buffer
	err = tl.Write(&b)
	return b.String(), err
}

func TestATimelineCountsInSeconds(t *testing.T) {
	t.Parallel()
	got, err := write(t, manifest, 0)
	require.NoError(t, err)
	require.JSONEq(t, `{"job":"job_1","state":"partial","title":"A & B","language":"en","chapters":[
		{"ordinal":1,"title":"One","artifact":"chapter-001.wav","start_seconds":0,"audio_seconds":3.5,"segments":[
			{"n":1,"voice":"v","language":"en","start_seconds":0.25,"end_seconds":1.25,"measured":true,"source":{"document":"a.xhtml","start":3,"end":9},"sentences":[
				{"text":"“Go,” he said.","start_seconds":0.25,"end_seconds":1,"words":[{"text":"Go","start_seconds":0.25},{"text":"he","start_seconds":0.5},{"text":"said","start_seconds":0.7}]},
				{"text":"Now!","start_seconds":1,"end_seconds":1.25,"words":[{"text":"Now","start_seconds":1}]}]},
			{"n":2,"voice":"v","language":"en","sentences":[{"text":"bad"}]}]},
		{"ordinal":2,"title":"Two","artifact":"chapter-002.wav","start_seconds":3.5,"audio_seconds":2,"segments":[
			{"n":3,"voice":"w","language":"de","start_seconds":0.333333,"end_seconds":1,"measured":false,"sentences":[
				{"text":"<End> of it","start_seconds":0.333333,"end_seconds":1,"words":[{"text":"End","start_seconds":0.333333}]}]}]},
		{"ordinal":3,"title":"Three","start_seconds":5.5,"segments":[]}]}`, got)
	require.Contains(t, got, "A & B", "nothing is escaped that need not be")
}

func TestATimelineOfOneChapter(t *testing.T) {
	t.Parallel()
	got, err := write(t, manifest, 2)
	require.NoError(t, err)
	var d struct {
		Chapters []struct{ Ordinal int }
	}
	require.NoError(t, json.Unmarshal([]byte(got), &d))
	require.Len(t, d.Chapters, 1)
	require.Equal(t, 2, d.Chapters[0].Ordinal)
	_, err = write(t, manifest, 4)
	require.ErrorIs(t, err, timeline.ErrNoChapter)
}

func TestAManifestThatIsCutIsNoTimeline(t *testing.T) {
	t.Parallel()
	whole := strings.Index(manifest, `],"totals"`)
	for n := range whole {
		_, err := write(t, manifest[:n], 0)
		require.Error(t, err, "%d bytes", n)
		require.NotErrorIs(t, err, timeline.ErrNoChapter)
	}
}

func FuzzATimelineIsJSONOrAnError(f *testing.F) {
	f.Add([]byte(manifest), 0)
	f.Add([]byte(manifest), 2)
	f.Add([]byte(`{"chapters":[{"ordinal":1,"sample_rate":1,"segments":[{"text":"é","start_sample":0,"samples":1,"sentences":[[1,2,0]],"words":[[0,9,0]]}]}]}`), 0)
	f.Add([]byte(`{"chapters":[{"segments":[{"source":{"a"`), 0)
	f.Fuzz(func(t *testing.T, manifest []byte, chapter int) {
		tl, err := timeline.Open(bytes.NewReader(manifest), chapter)
		if err != nil {
			return
		}
		var b bytes.Buffer
		if tl.Write(&b) == nil && !json.Valid(b.Bytes()) {
			t.Fatalf("%q", b.Bytes())
		}
	})
}
