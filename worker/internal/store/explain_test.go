package store_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/platform/testkit"
	"github.com/voicemill/voicemill/worker/internal/store"
)

// What a worker asks all the time must not grow with what is stored, also when
// statistics were taken before anything was there.
func TestNoQueryOfTheHotPathGrowsWithTheBacklog(t *testing.T) {
	t.Parallel()
	_, pool := open(t)
	q, err := store.Queries()
	require.NoError(t, err)
	testkit.Backlog(t, pool, 1_000_000)
	const (
		one    = `array[1, 2]`
		keys   = `array[sha256('1'), sha256('2')]`
		floats = `array[1.0, 1.0]`
		words  = `array['x', 'y']`
	)
	sound := func(levels, samples string) string {
		return levels + `, ` + levels + `, ` + levels + `, ` + samples + `, ` + samples
	}
	type hot struct {
		args  string
		pages int // of the database that it may touch
	}
	for _, known := range []string{"analyzed while empty", "analyzed"} {
		for _, mode := range []string{"force_generic_plan", "force_custom_plan"} {
			for name, h := range map[string]hot{
				"Claim":                {one + `, array[1, 1], array[1, 1], array[false, false], ` + one + `, array[1, 1], array[1, 1], array[1, 1], ` + keys, 80},
				"Return":               {one + `, array[1, 1], array[1, 1]`, 60},
				"Begin":                {one + `, array[1, 1], array[1, 1], array[1, 1], ` + keys, 80},
				"LockJobs":             {one, 40},
				"PutHearing":           {"sha256('1'), '', '{}'", 40},
				"AddRenditions":        {`array[sha256('new')], array['tenant-1'], array[''], array[1], array[1], array[1], array[sha256('')], array[''], array[null], ` + sound(`array[-20.0]`, `array[1]`) + `, array[null]`, 60},
				"AddMissingRenditions": {keys + `, array['tenant-1', 'tenant-2'], array['', ''], ` + one + `, ` + one + `, ` + one + `, ` + keys + `, array['', ''], array[null, null], ` + sound(floats, one) + `, array[null, '{}']`, 80},
				"Settle": {one + `, array[1, 1], array[1, 1], array[1, 1], array[1, 1], array['done', 'pending'], ` + keys + `, ` + floats + `, ` +
					floats + `, ` + floats + `, ` + words + `, ` + words + `, array[null, 1.0]`, 300},
				"AdvanceJobs":      {one + `, array[1, 1]`, 120},
				"JobVersions":      {one, 40},
				"ChapterSegments":  {`1, 1, 128`, 3000}, // of two blocks: a look for each segment in each table
				"ManifestSegments": {`1, 1, 128`, 3000},
				"FilesBeside":      {`'job_1'`, 20},
				"FirstFailure":     {`1`, 60},
				"BeginDue":         {`'assemble', 'job_1', 1, 1, false`, 60},
				"LockJob":          {`'job_1'`, 20},
			} {
				did := testkit.Explain(t, pool, mode, q.Get(name), h.args)
				require.Empty(t, did.Scanned, "%s, %s, %s reads a whole table:\n%s", name, known, mode, did.Text)
				require.LessOrEqual(t, did.Pages, h.pages, "%s, %s, %s:\n%s", name, known, mode, did.Text)
			}
		}
		testkit.Analyze(t, pool)
	}
}
