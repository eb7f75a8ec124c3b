package bus

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/voicemill/voicemill/platform/config"
)

const (
	defaultURL         = "nats://127.0.0.1:4222"
	defaultAckWait     = 15 * time.Second
	defaultConnectWait = 30 * time.Second
	defaultJobsBytes   = 1 << 30
	defaultWorkBytes   = 128 << 20
	defaultParkedBytes = 64 << 20
	defaultWorkMsgs    = 100_000

	requestTimeout = 5 * time.Second // one request to the server without a deadline of its own
	publishTimeout = time.Second     // of what goes to WORK, which is published again after it
	drainTimeout   = 5 * time.Second
	maxOutstanding = 256 // unacknowledged publishes of one Bus; more does not go faster with fsync
)

// The values of Config.Sync.
const (
	SyncVerify  = "verify"
	SyncAssured = "assured"
	SyncUnsafe  = "unsafe"
)

// Config says where the NATS servers are and how large the streams may grow.
// The zero value of every field means its default.
type Config struct {
	URL         string        `help:"NATS servers, separated by commas." default:"nats://127.0.0.1:4222"`
	Credentials string        `help:"File with NATS credentials." placeholder:"FILE"`
	CA          string        `help:"File with the certificates that NATS servers are trusted by; default: the machine's." placeholder:"FILE"`
	Cert        string        `help:"Client certificate shown to NATS servers; with its key. Read again at each connection." placeholder:"FILE"`
	CertKey     string        `help:"Key of the client certificate." placeholder:"FILE"`
	Replicas    int           `help:"Copies of each stream: 1, 3 or 5. 0 makes it 3 in a cluster of three servers or more, else 1, and lowers none that there are." default:"0"`
	Sync        string        `help:"What to do about NATS servers that do not sync each message to disk, so that a power cut loses accepted jobs: verify refuses to run with one, or if none can be asked; assured refuses only with one; unsafe warns and runs on." default:"verify" enum:"verify,assured,unsafe"`
	Monitor     string        `help:"Monitoring addresses of all NATS servers, as http://host:8222, separated by commas. They are asked where the account may not ask $SYS.REQ.SERVER.PING.JSZ. Default: port 8222 of each server." placeholder:"URL"`
	JobsBytes   int64         `help:"Bytes that JOBS may hold before new jobs are refused." default:"1073741824"`
	ParkedBytes int64         `help:"Bytes of accepted jobs that could not be read and are kept to be looked at." default:"67108864"`
	WorkBytes   int64         `help:"Bytes of memory that WORK may hold." default:"134217728"`
	WorkMsgs    int64         `help:"Messages that WORK may hold." default:"100000"`
	AckWait     time.Duration `help:"How long a silent receiver keeps a message." default:"15s"`
	ConnectWait time.Duration `help:"How long a start waits for servers that are away." default:"30s"`
}

func (c Config) withDefaults() Config {
	if c.URL == "" {
		c.URL = defaultURL
	}
	for p, d := range map[*time.Duration]time.Duration{&c.AckWait: defaultAckWait, &c.ConnectWait: defaultConnectWait} {
		if *p == 0 {
			*p = d
		}
	}
	for p, d := range map[*int64]int64{&c.JobsBytes: defaultJobsBytes, &c.WorkBytes: defaultWorkBytes, &c.ParkedBytes: defaultParkedBytes, &c.WorkMsgs: defaultWorkMsgs} {
		if *p == 0 {
			*p = d
		}
	}
	if c.Sync == "" {
		c.Sync = SyncVerify
	}
	return c
}

// Validate reports the first setting that makes no sense.
func (c Config) Validate() error { return config.Check("bus", c.withDefaults()) }

// Rules are what the settings must keep.
func (c Config) Rules() []config.Rule {
	c = c.withDefaults()
	return []config.Rule{
		{Says: "`replicas` must be 1, 3 or 5, or 0 for what the cluster can hold", Kept: slices.Contains([]int{0, 1, 3, 5}, c.Replicas)},
		{Says: "`sync` must be verify, assured or unsafe", Kept: slices.Contains([]string{SyncVerify, SyncAssured, SyncUnsafe}, c.Sync)},
		{
			Says: fmt.Sprintf("`jobs-bytes`, `work-bytes` and `parked-bytes` must be at least %d", 2*MaxMessageBytes),
			Kept: min(c.JobsBytes, c.WorkBytes, c.ParkedBytes) >= 2*MaxMessageBytes,
		},
		{Says: "`cert` and `cert-key` must both be given, or neither", Kept: (c.Cert == "") == (c.CertKey == "")},
		{Says: "`work-msgs` must be positive", Kept: c.WorkMsgs > 0},
		{Says: "`ack-wait` and `connect-wait` must not be negative", Kept: min(c.AckWait, c.ConnectWait) >= 0},
		{Says: "`monitor` must be http or https URLs", Kept: !slices.ContainsFunc(c.monitors(), func(m string) bool {
			u, err := url.Parse(m)
			return err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https"
		})},
	}
}

// monitors are the addresses that Monitor names.
func (c Config) monitors() (all []string) {
	for m := range strings.SplitSeq(c.Monitor, ",") {
		if m = strings.TrimSpace(m); m != "" {
			all = append(all, strings.TrimSuffix(m, "/"))
		}
	}
	return all
}
