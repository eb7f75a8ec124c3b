package store_test

import (
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/platform/pg"
	"github.com/voicemill/voicemill/platform/testkit"
)

// hot is a statement of the loop, of planning or of callbacks.
type hot struct {
	args  string // as the statement gets them
	pages int    // of the database that it may touch
}

// One turn takes 16 bundles of as many jobs; a page has 1,000 rows, each of which
// costs some pages for its job and tenant.
func hotQueries() map[string]hot {
	const (
		nums  = `array[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16]`
		pools = `array_fill('espeak'::text, array[16])`
		zeros = `array_fill(0, array[16])`
		ones  = `array_fill(1, array[16])`
		real1 = `array_fill(1::real, array[16])`
	)
	some := make([]string, 100) // a tenth of all tenants
	for i := range some {
		some[i] = strconv.Itoa(i + 1)
	}
	tenants := `array[` + strings.Join(some, ", ") + `]`
	return map[string]hot{
		"QueuesAfter":      {args: `100, 'espeak', 1000`, pages: 8000},
		"QueuesOf":         {args: `array['job_1', 'job_2']`, pages: 60},
		"RetriesAfter":     {args: `'2000-01-01', 0, 0, 1000`, pages: 24_000},
		"RetriesOf":        {args: nums + `, 1000`, pages: 24_000},
		"Changes":          {args: `1000`, pages: 60},
		"Blocks":           {args: nums + `, ` + zeros, pages: 600},
		"Terms":            {args: nums, pages: 200},
		"StartJobs":        {args: nums + `, array[]::text[], array[]::bigint[], array[]::text[], 'job.started'`, pages: 300},
		"ReleaseBundles":   {args: strings.Join([]string{nums, pools, zeros, ones, real1, `array_fill(false, array[16])`, nums, pools, `array_fill(17, array[16])`, `array_fill(1::bigint, array[16])`, real1, nums, pools, ones, `1`}, ", "), pages: 1200},
		"ReleaseRetries":   {args: nums + `, array_fill(65, array[16]), array_fill(0::smallint, array[16]), ` + real1, pages: 1200},
		"OutstandingAfter": {args: `0, 0, 0, 256`, pages: 3000},
		"DropOutstanding":  {args: nums + `, ` + ones + `, array_fill(1::smallint, array[16])`, pages: 600},
		"SplitBundle":      {args: `1, 1, 1`, pages: 200},
		"FailSegment":      {args: `1, 1, 1, 1, 1, 'internal', 'x'`, pages: 100},
		"AdvanceNum":       {args: `1`, pages: 500},
		"OutboxAfter":      {args: `0, 1000`, pages: 16_000},
		"ReleaseOutbox":    {args: `array[1, 2], array[0, 0]`, pages: 60},
		"OutboxOut":        {args: `array[1, 2]`, pages: 30},
		"VersionOf":        {args: `1`, pages: 20},
		"Claim":            {args: `false, 'bulk', '', 32, 32, array[]::text[]`, pages: 60},
		"ClaimAgain":       {args: `'job_1'`, pages: 30},
		"InterruptedPlans": {args: `true`, pages: 60},
		"RenditionsOf":     {args: `array[sha256('1'), sha256('2'), sha256('none')]`, pages: 60},
		"FencePlans":       {args: `array[1, 2], array[1, 1]`, pages: 60},
		"CountBlocks":      {args: `array[1]`, pages: 60},
		"ClaimDeliveries":  {args: `32, 1, array[]::text[], array[]::text[]`, pages: 60},
		"ForgetTexts":      {args: tenants + `, 86400, 10`, pages: 3000},
		"ForgetAudio":      {args: tenants + `, 86400, 10`, pages: 3000},
		"ForgetJobs":       {args: tenants + `, 86400, 10`, pages: 6000},
		"ForgetDeliveries": {args: tenants + `, 1, 100`, pages: 4000},
		"EvictRenditions":  {args: tenants + `, 86400, 100`, pages: 6000},
		"EvictSurplus":     {args: tenants + `, 1, 100`, pages: 6000},
		"Garbage":          {args: `0, 100`, pages: 1500},
		"Orphans":          {args: `array['renditions/tenant-1/00/' || repeat('00', 32) || '.wav', 'jobs/x', 'uploads/x']`, pages: 300}, // its function is planned at its first call,
		"TallyJobs":        {args: `100`, pages: 6000},
		"DeleteGarbage":    {args: `1, 100`, pages: 1000},
		"DeleteTombstones": {args: `1, 100`, pages: 1000},
	}
}

// Nothing that the leader asks all the time grows with what waits or is done,
// also when statistics were taken before anything was there.
func TestNoHotQueryGrowsWithTheBacklog(t *testing.T) {
	t.Parallel()
	_, db := open(t)
	queries, err := pg.LoadQueries(os.DirFS("."), "sql")
	require.NoError(t, err)
	testkit.Backlog(t, db, 1_000_000)
	for _, known := range []string{"analyzed while empty", "analyzed"} {
		for _, mode := range []string{"force_generic_plan", "force_custom_plan"} {
			for name, q := range hotQueries() {
				did := testkit.Explain(t, db, mode, queries.Get(name), q.args)
				require.Empty(t, did.Scanned, "%s, %s, %s reads a whole table:\n%s", name, known, mode, did.Text)
				require.LessOrEqual(t, did.Pages, q.pages, "%s, %s, %s:\n%s", name, known, mode, did.Text)
			}
		}
		testkit.Analyze(t, db)
	}
}
