package plan

import "github.com/voicemill/voicemill/platform/config"

// Rules are what the settings must keep.
func (c Config) Rules() []config.Rule {
	return []config.Rule{
		{Says: "`batch`, `batch-bytes` and `attempts` must be positive", Kept: c.Batch > 0 && c.BatchBytes > 0 && c.Attempts > 0},
		{Says: "`documents` must be at least 2", Kept: c.Documents >= 2},
		{Says: "`crashes` must be at least `attempts`", Kept: c.Crashes >= c.Attempts},
		{Says: "`poll`, `timeout`, `backoff` and `grace` must be positive", Kept: min(c.Poll, c.Timeout, c.Backoff, c.Grace) > 0},
		{Says: "`backoff-max` must be at least `backoff`", Kept: c.BackoffMax >= c.Backoff},
	}
}
