package worker

import (
	"context"
	"encoding/json"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/worker/internal/hear"
	"github.com/voicemill/voicemill/worker/internal/plantest"
)

// scriptedEar doubts what has the word doubtful, and is away for what has the word away.
type scriptedEar struct {
	mu    sync.Mutex
	asked int
}

func (e *scriptedEar) Chooses(string) bool { return true }

func (e *scriptedEar) Hear(_ context.Context, s hear.Spoken) hear.Heard {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.asked++
	h := hear.Heard{Hearing: &job.Hearing{Words: 4, Heard: s.Text, Tries: 1}}
	switch {
	case strings.Contains(s.Text, "away"):
		return hear.Heard{}
	case strings.Contains(s.Text, "doubtful"):
		h.Kind, h.Errors, h.Heard = "other", 2, "something else"
	}
	return h
}

// quality reads what was proved of a job.
func (w *world) quality(t *testing.T, id job.ID) (q *job.Quality) {
	t.Helper()
	var raw []byte
	require.NoError(t, w.db.QueryRow(t.Context(), `select quality from jobs where id = $1`, id).Scan(&raw))
	if raw != nil {
		require.NoError(t, json.Unmarshal(raw, &q))
	}
	return q
}

// What was heard is kept with the renditions, and says what a job is worth when it ends.
func TestAJobSaysWhatWasHeard(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	book := func(verify job.Verify) plantest.Book {
		return plantest.Book{Verify: verify, Chapters: []plantest.Chapter{
			plantest.Sentences("One", "All is well here.", "The ear is away now."), plantest.Sentences("Two", "All is well again.", "This one is doubtful."),
		}}
	}
	ear := &scriptedEar{}
	w.start(t, quickConfig(), &scripted{}, func(p *parts) { p.ear = ear })
	end := func(verify job.Verify) plantest.Plan {
		p := plantest.Insert(t, w.db, book(verify))
		plantest.Schedule(t, w.db, w.bus, p)
		require.Equal(t, job.StateSucceeded, plantest.AwaitEnd(t, w.db, p, within))
		return p
	}
	none := end(job.VerifyNone)
	require.Nil(t, w.quality(t, none.ID))
	require.Nil(t, w.manifest(t, none.ID).Quality)
	require.Zero(t, ear.asked)

	// The same again, to be heard: every rendition is there, and none was heard.
	all := end(job.VerifyAll)
	q := w.quality(t, all.ID)
	start := q.Stretches[0].StartSeconds
	require.Equal(t, &job.Quality{
		Verify: job.VerifyAll, Segments: 4, Heard: 3, HeardShare: .75, Words: 12, WordErrors: 2, WordErrorRate: 1. / 6, Doubtful: 1,
		Stretches: []job.Doubt{{Segment: 4, Chapter: 2, StartSeconds: start, Kind: "other", Text: "This one is doubtful.", Heard: "something else", Tries: 1}},
	}, q)
	require.Equal(t, 4, ear.asked)
	m := w.checkBook(t, all.ID)
	require.Equal(t, q, m.Quality)
	last := m.Chapters[1].Segments[1]
	require.Equal(t, "other", last.Verdict)
	require.Equal(t, "something else", *last.Heard)
	require.InDelta(t, float64(*last.StartSample)/float64(m.Chapters[1].SampleRate), start, 1e-9)
	require.Nil(t, m.Chapters[0].Segments[1].Heard)

	// What was heard need not be heard again.
	require.Equal(t, 3, w.quality(t, end(job.VerifyAll).ID).Heard)
	require.Equal(t, 5, ear.asked, "but for what the ear was away for")
}

// An ear that is told of is offered to those who ask.
func TestAnEarIsMadeKnown(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	stop := w.start(t, quickConfig(), &scripted{}, func(p *parts) { p.ear = &scriptedEar{} })
	known := func(n int) {
		require.Eventually(t, func() bool {
			return w.number(t, `select count(*) from ears`) == n && w.number(t, `select count(*) from voices`) > 0
		}, within, 20*time.Millisecond)
	}
	known(1)
	stop()
	w.start(t, quickConfig(), &scripted{}, nil)
	known(0)
}
