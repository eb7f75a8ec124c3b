package gateway

import (
	"fmt"
	"time"

	"github.com/voicemill/voicemill/platform/config"
)

// Validate reports the first setting that makes no sense.
func (c Config) Validate() error { return config.Check("gateway", c) }

// Rules are what the settings must keep.
func (c Config) Rules() []config.Rule {
	return []config.Rule{
		{Says: "`listen` must be given", Kept: c.Listen != ""},
		{Says: "`max-conns` and `read-queue` must be positive, `readers` not negative", Kept: c.MaxConns > 0 && c.ReadQueue > 0 && c.Readers >= 0},
		{
			Says: "`max-wait` must be positive and at most eleven twelfths of `answer-timeout`",
			Kept: c.MaxWait > 0 && c.MaxWait <= c.Bounds.maxHold(),
		},
		{
			Says: "`watches`, `key-watches`, `heartbeat` and `ping` must be positive",
			Kept: c.Watches > 0 && c.KeyWatches > 0 && c.Heartbeat > 0 && c.Ping > 0,
		},
		{
			Says: "`key-cache`, `in-flight` and `publish-timeout` must be positive",
			Kept: c.KeyCache > 0 && c.InFlight > 0 && c.PublishTimeout > 0,
		},
		{Says: "`transcodes` and `buckets` must not be negative", Kept: min(c.Transcodes, c.Buckets) >= 0},
		{
			Says: "`access-log-rate` and `access-log-failures` must not be negative, `access-log-slow` must be positive",
			Kept: c.AccessLogRate >= 0 && c.AccessLogFailures >= 0 && c.AccessLogSlow > 0,
		},
		{Says: "`grace` must be positive", Kept: c.Grace > 0},
		{Says: "`shed-bulk` must be positive and at most `shed-interactive`", Kept: c.ShedBulk > 0 && c.ShedInteractive >= c.ShedBulk},
		config.ByFault("`document-bytes` must be at least 1 MiB, `document-age` at most one minute", c.documents().Validate()),
		config.ByFault("`upload-bytes` and `upload-expiry` must be what a job may have", c.operation().Limits.Validate()),
		config.ByFault("`key-rate`, `tenant-rate`, `key-text`, `tenant-text`, `key-waits`, `tenant-waits`, `key-connections` and "+
			"`tenant-connections` must not be negative, and what is not off must be positive", c.limits().Validate()),
	}
}

const (
	minHeadBytes  = 1 << 10                // what a browser sends
	maxHeadBytes  = 1<<16 - 1              // offsets into a head have 16 bits
	minBodyBytes  = 1 << 10                // a small job
	maxBodyBytes  = 1 << 20                // a job goes to the bus in one message, which has no more
	maxBatchLines = 10_000                 // the contract's
	minTimeout    = 100 * time.Millisecond // how exactly the edge keeps time
)

// Rules are what the bounds must keep.
func (b Bounds) Rules() []config.Rule {
	return []config.Rule{
		{Says: "`accept-rate` must not be negative, `max-buffered` must be positive", Kept: b.AcceptRate >= 0 && b.MaxBuffered > 0},
		{
			Says: fmt.Sprintf("`head-bytes` must be %d to %d", minHeadBytes, maxHeadBytes),
			Kept: b.HeadBytes >= minHeadBytes && b.HeadBytes <= maxHeadBytes,
		},
		{
			Says: fmt.Sprintf("`body-bytes` must be %d to %d", minBodyBytes, maxBodyBytes),
			Kept: b.BodyBytes >= minBodyBytes && b.BodyBytes <= maxBodyBytes,
		},
		{Says: "`text-bytes` must be positive and at most `body-bytes`", Kept: b.TextBytes > 0 && b.TextBytes <= b.BodyBytes},
		{Says: fmt.Sprintf("`batch-lines` must be 1 to %d", maxBatchLines), Kept: b.BatchLines > 0 && b.BatchLines <= maxBatchLines},
		{
			Says: fmt.Sprintf("`head-timeout`, `body-timeout`, `idle-timeout` and `answer-timeout` must be at least %s", minTimeout),
			Kept: min(b.HeadTimeout, b.BodyTimeout, b.IdleTimeout, b.AnswerTimeout) >= minTimeout,
		},
	}
}

// Rules are what the settings of TLS must keep.
func (t TLS) Rules() []config.Rule {
	return []config.Rule{
		{Says: "`cert` and `key` must name as many files each", Kept: len(t.Cert) == len(t.Key)},
		{
			Says: "`client-ca`, `require-cert` and `tickets` need `cert`",
			Kept: len(t.Cert) > 0 || t.ClientCA == "" && !t.RequireCert && t.Tickets == "",
		},
		{Says: "`require-cert` needs `client-ca`", Kept: !t.RequireCert || t.ClientCA != ""},
	}
}

// Rules are what the settings of access tokens must keep.
func (j JWT) Rules() []config.Rule {
	return []config.Rule{config.ByFault("with `issuer`, which must be a URL with https, `audience`, `algorithms`, `scope-claim` and one of "+
		"`tenant-claim` and `tenant` must be given, `scopes` must name scopes, `leeway` must be at most 5m and `keep` positive", j.validate())}
}
