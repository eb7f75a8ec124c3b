package assemble_test

import (
	"bytes"
	"encoding/json"
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/bus"
	"github.com/voicemill/voicemill/platform/wav"
	"github.com/voicemill/voicemill/worker/internal/assemble"
	"github.com/voicemill/voicemill/worker/internal/loudness"
	"github.com/voicemill/voicemill/worker/internal/plantest"
	"github.com/voicemill/voicemill/worker/internal/store"
)

// spoken is a second of syllables at a peak, with half a second of silence around.
func spoken(peak float64) []int16 {
	voice := make([]int16, rate)
	for i := range voice {
		at := float64(i) / rate
		voice[i] = int16(32767 * peak * (.3 + .7*math.Abs(math.Sin(2*math.Pi*4*at))) * math.Sin(2*math.Pi*(180+40*math.Sin(9*at))*at))
	}
	return slices.Concat(make([]int16, rate/2), voice, make([]int16, rate/2))
}

// TestAChapterIsLevelled joins three voices of very different loudness, and has
// the same file when it is joined anew.
func TestAChapterIsLevelled(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	var files [2][]byte
	for i := range files {
		p := plantest.Insert(t, b.db, plantest.Book{Loudness: job.LoudnessACX, Chapters: []plantest.Chapter{plantest.Sentences("One", "a", "b", "c", "d", "e", "f")}})
		bundles, err := plantest.Release(t.Context(), b.db, p)
		require.NoError(t, err)
		b.settle(t, bundles, func(g bus.Segment) *store.Rendition {
			samples := spoken([]float64{.02, .3, .9}[g.N%3])
			r := b.keep(t, p.Tenant, g, rate, samples)
			r.Sound = store.SoundOf(loudness.Of(samples, rate))
			r.Marks = []byte(`{"sentences":[[0,1,0]],"words":[[0,1,11025]]}`)
			return r
		})
		b.do(t, p.ID, 1)
		state, detail := b.chapter(t, p.ID)
		require.Equal(t, job.ChapterReady, state, detail)
		b.do(t, p.ID, 0)
		files[i] = b.read(t, p.ID, "chapter-001.wav")
		if i == 0 {
			requireLevelled(t, files[i], b.read(t, p.ID, "manifest.json"))
		}
	}
	require.Equal(t, files[0], files[1])
}

// requireLevelled holds the file against the manifest, sample for sample.
func requireLevelled(t *testing.T, file, manifest []byte) {
	t.Helper()
	_, samples, err := wav.Decode(bytes.NewReader(file), 1<<22)
	require.NoError(t, err)
	var m assemble.Manifest
	require.NoError(t, json.Unmarshal(manifest, &m))
	c := m.Chapters[0]
	require.Equal(t, job.LoudnessACX, m.Loudness)
	require.True(t, c.Loudness.Pass, "%+v", c.Loudness)
	require.EqualValues(t, len(samples), c.AudioSamples)
	const lead, tail = 3 * rate / 100, 6 * rate / 100 // what is left of the silence
	require.InDelta(t, .75*rate, *c.Segments[0].StartSample, 1)
	before := 0.0
	for i, g := range c.Segments {
		from := *g.StartSample
		require.InDelta(t, lead+rate+tail, g.Samples, rate/50, "the windows of the silence are 10 ms")
		require.Equal(t, from, g.Sentences[0][2], "a mark in silence that is not in the file is where that begins")
		require.InDelta(t, from+lead, g.Words[0][2], rate/50)
		voice := samples[from : from+g.Samples]
		require.NotZero(t, slices.Max(voice[lead:lead+rate/20]), "it sounds where the mark is")
		now := loudness.Of(voice, rate).LUFS
		if i > 0 {
			require.InDelta(t, before, now, 1, "segment %d and the one before", i)
			silent := samples[from-7000 : from]
			require.Zero(t, slices.Max(silent))
		}
		before = now
	}
}
