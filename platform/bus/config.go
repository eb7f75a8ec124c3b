package bus

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"
)

const (
	defaultURL         = "nats://127.0.0.1:4222"
	defaultAckWait     = 15 * time.Second
	defaultConnectWait = 30 * time.Second
	defaultJobsBytes   = 1 << 30
	defaultWorkBytes   = 128 << 20
	defaultWorkMsgs    = 100_000

	requestTimeout = 5 * time.Second // one request to the server without a deadline of its own
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
	for p, d := range map[*int64]int64{&c.JobsBytes: defaultJobsBytes, &c.WorkBytes: defaultWorkBytes, &c.WorkMsgs: defaultWorkMsgs} {
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
func (c Config) Validate() error {
	c = c.withDefaults()
	switch {
	case c.Replicas != 0 && c.Replicas != 1 && c.Replicas != 3 && c.Replicas != 5:
		return fmt.Errorf("bus: replicas is %d; it must be 1, 3 or 5, or 0 for what the cluster can hold", c.Replicas)
	case c.Sync != SyncVerify && c.Sync != SyncAssured && c.Sync != SyncUnsafe:
		return fmt.Errorf("bus: sync is %q; it must be %s, %s or %s", c.Sync, SyncVerify, SyncAssured, SyncUnsafe)
	case c.JobsBytes < 2*MaxMessageBytes || c.WorkBytes < 2*MaxMessageBytes:
		return fmt.Errorf("bus: jobs_bytes (%d) and work_bytes (%d) must be at least %d", c.JobsBytes, c.WorkBytes, 2*MaxMessageBytes)
	case (c.Cert == "") != (c.CertKey == ""):
		return fmt.Errorf("bus: cert (%q) and cert_key (%q) must both be given, or neither", c.Cert, c.CertKey)
	case c.WorkMsgs < 1:
		return fmt.Errorf("bus: work_msgs is %d; it must be positive", c.WorkMsgs)
	case c.AckWait < 0 || c.ConnectWait < 0:
		return errors.New("bus: ack_wait and connect_wait must be positive")
	}
	for _, m := range c.monitors() {
		if u, err := url.Parse(m); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			return fmt.Errorf("bus: monitor %q is not an http or https URL", m)
		}
	}
	return nil
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
