package bus

import (
	"errors"
	"fmt"
	"time"
)

const (
	defaultURL         = "nats://127.0.0.1:4222"
	defaultAckWait     = 15 * time.Second
	defaultConnectWait = 30 * time.Second
	defaultJobsBytes   = 1 << 30
	defaultWorkBytes   = 512 << 20
	defaultWorkMsgs    = 200_000

	requestTimeout = 5 * time.Second // one request to the server without a deadline of its own
	drainTimeout   = 5 * time.Second
	maxOutstanding = 256 // unacknowledged publishes of one Bus; more does not go faster with fsync
)

// Config says where the NATS servers are and how large the streams may grow.
// The zero value of every field means its default.
type Config struct {
	URL         string        `help:"NATS servers, separated by commas." default:"nats://127.0.0.1:4222"`
	Credentials string        `help:"File with NATS credentials." placeholder:"FILE"`
	Replicas    int           `help:"Copies of each stream: 1, 3 or 5." default:"1"`
	JobsBytes   int64         `help:"Bytes that JOBS may hold before new jobs are refused." default:"1073741824"`
	WorkBytes   int64         `help:"Bytes that WORK may hold." default:"536870912"`
	WorkMsgs    int64         `help:"Messages that WORK may hold." default:"200000"`
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
	if c.Replicas == 0 {
		c.Replicas = 1
	}
	return c
}

// Validate reports the first setting that makes no sense.
func (c Config) Validate() error {
	c = c.withDefaults()
	switch {
	case c.Replicas != 1 && c.Replicas != 3 && c.Replicas != 5:
		return fmt.Errorf("bus: replicas is %d; it must be 1, 3 or 5", c.Replicas)
	case c.JobsBytes < 2*MaxMessageBytes || c.WorkBytes < 2*MaxMessageBytes:
		return fmt.Errorf("bus: jobs_bytes (%d) and work_bytes (%d) must be at least %d", c.JobsBytes, c.WorkBytes, 2*MaxMessageBytes)
	case c.WorkMsgs < 1:
		return fmt.Errorf("bus: work_msgs is %d; it must be positive", c.WorkMsgs)
	case c.AckWait < 0 || c.ConnectWait < 0:
		return errors.New("bus: ack_wait and connect_wait must be positive")
	}
	return nil
}
