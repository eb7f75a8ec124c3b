package release_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/testkit"
)

// What was just planned goes out before all else. When WORK is gone it must not keep
// the step from making it anew: a steady flow of lines would keep it so for ever.
func TestALineThatIsPlannedWhileWorkIsLostGoesOutInTheSameStep(t *testing.T) {
	w := newWorld(t)
	setRapid(t, "1")
	rapid.Check(t, func(t *rapid.T) {
		w.begin(t)
		w.step(t)
		w.submit(t)
		w.claim(t)
		testkit.DropWork(w.t, w.server)
		w.works.Close()
		w.hire()
		w.commit(t, w.jobs[0].plan(w.claims[0]))
		w.step(t)
		w.take(t, job.Interactive, 1)
		w.take(t, job.Bulk, 1)
		require.NotEmpty(t, w.held)
	})
}
