package encode_test

import (
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/job"
)

// What ffmpeg's own meter says of each encoded file is what its report says.
func TestWhatWasEncodedIsMeasured(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	id := b.joined(t, job.Output{Formats: job.Formats(), Loudness: job.LoudnessACX}, 24000, 2.1)
	b.encode(t, id, 1, 0)
	dir, _ := b.files(t, id)
	for _, extension := range []string{"m4a", "mp3", "opus", "flac"} {
		name := "chapter-001." + extension
		var r job.LoudnessReport
		require.NoError(t, b.db.QueryRow(t.Context(), `select loudness from artifacts where job_id = $1 and name = $2`, id, name).Scan(&r))
		require.Equal(t, job.LoudnessACX, r.Target, name)
		require.Len(t, r.Figures, 6, name)
		require.False(t, r.Pass, "%s is far too faint, but for a click", name)
		said, err := exec.CommandContext(t.Context(), "ffmpeg", "-nostats", "-i", filepath.Join(dir, name), "-af", "aformat=sample_fmts=s16,astats", "-f", "null", "-").CombinedOutput()
		require.NoError(t, err)
		_, overall, _ := strings.Cut(string(said), "Overall")
		for i, label := range []string{"RMS level dB", "Peak level dB"} {
			found := regexp.MustCompile(label + `: (\S+)`).FindStringSubmatch(overall)
			require.Len(t, found, 2, name)
			require.InDelta(t, seconds(t, found[1]), r.Figures[i].Value, 0.02, "%s: %s", name, r.Figures[i].Name)
		}
		require.InDelta(t, 2.1, r.Figures[5].Value, 0.06, name)
	}
	var reports int
	require.NoError(t, b.db.QueryRow(t.Context(), `select count(loudness) from artifacts where job_id = $1 and name like 'book.%'`, id).Scan(&reports))
	require.Zero(t, reports, "they are the packets of the chapters")
}
