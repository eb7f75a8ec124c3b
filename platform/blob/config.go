package blob

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"time"

	"github.com/voicemill/voicemill/platform/config"
)

const (
	defaultRegion      = "us-east-1"
	defaultConnectWait = 30 * time.Second

	partBytes    = 5 << 20 // the smallest that S3 allows
	maxParts     = 10_000  // as S3: 48 GiB an object
	partsAtOnce  = 2       // uploads with a part in memory
	slowAtOnce   = 4       // of these, beside them, from readers that take their time
	stallAfter   = 15 * time.Second
	dialTimeout  = 5 * time.Second
	smallTimeout = 30 * time.Second // a request without a body to speak of
	retries      = 3                // by the client, within one request, for a blip
	idleConns    = 64
)

const (
	encryptNone = "none"
	encryptS3   = "s3"
	encryptKMS  = "kms"
)

// encryptions are the values of Config.Encryption; empty is none.
func encryptions() []string { return []string{"", encryptNone, encryptS3, encryptKMS} }

// Config says where the bucket is. The zero value of TLS, Region,
// PublicEndpoint and ConnectWait means their default.
type Config struct {
	Endpoint       string        `help:"S3 server as host:port." placeholder:"HOST:PORT"`
	Bucket         string        `help:"Bucket; made if missing." default:"voicemill"`
	AccessKey      string        `help:"Access key." placeholder:"KEY"`
	SecretKey      config.Secret `help:"Secret key." placeholder:"SECRET"`
	Region         string        `help:"Region that requests are signed for." default:"us-east-1"`
	Role           bool          `help:"Take short-lived keys from the role of the machine, container or pod (IAM) instead of the two above."`
	TLS            bool          `help:"Speak TLS to the S3 server."`
	CA             string        `help:"File with the certificates that the S3 server is trusted by, beside the machine's." placeholder:"FILE"`
	Encryption     string        `help:"Encryption at rest that is asked for with each object: none, s3 (SSE-S3) or kms (SSE-KMS)." default:"none" enum:"none,s3,kms"`
	EncryptionKey  string        `help:"Id of the KMS key; the bucket's own if empty." placeholder:"ID"`
	PublicEndpoint string        `help:"Base URL under which clients reach the S3 server, if not the same." placeholder:"URL"`
	ConnectWait    time.Duration `help:"How long a start waits for a server that is away." default:"30s"`
}

// Validate reports the first setting that makes no sense.
func (c Config) Validate() error { return config.Check("blob", c) }

// Rules are what the settings must keep.
func (c Config) Rules() []config.Rule {
	_, _, public := c.public()
	return []config.Rule{
		{Says: "`endpoint` and `bucket` must be given", Kept: c.Endpoint != "" && c.Bucket != ""},
		{
			Says: "`access-key` and `secret-key` must be given unless `role` is, and not with it",
			Kept: (c.AccessKey != "") != c.Role && !c.SecretKey.IsZero() != c.Role,
		},
		{Says: "`encryption` must be none, s3 or kms", Kept: slices.Contains(encryptions(), c.Encryption)},
		{Says: "`encryption-key` needs `encryption` to be " + encryptKMS, Kept: c.EncryptionKey == "" || c.Encryption == encryptKMS},
		{Says: "`connect-wait` must not be negative", Kept: c.ConnectWait >= 0},
		{Says: "`public-endpoint` must be an http or https URL without a path", Kept: public == nil},
	}
}

// unsigned reports whether the bytes of an object may travel without a
// signature over them: TLS protects them, or they do not leave the machine.
// Without the processor's help SHA-256 costs more than everything else that is
// done to a rendition, and it would be computed on both sides.
func (c Config) unsigned() bool {
	host, _, err := net.SplitHostPort(c.Endpoint)
	if err != nil {
		host = c.Endpoint
	}
	ip, err := netip.ParseAddr(host)
	return c.TLS || host == "localhost" || (err == nil && ip.IsLoopback())
}

// ValidPublic reports a [Config.PublicEndpoint] that is none; empty is one.
func ValidPublic(endpoint string) error {
	_, _, err := Config{PublicEndpoint: endpoint}.public()
	return err
}

// public returns the host and the scheme that presigned URLs name.
func (c Config) public() (host string, secure bool, err error) {
	if c.PublicEndpoint == "" {
		return c.Endpoint, c.TLS, nil
	}
	u, err := url.Parse(c.PublicEndpoint)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") || (u.Path != "" && u.Path != "/") {
		return "", false, fmt.Errorf("blob: public_endpoint %q is not an http or https URL without a path", c.PublicEndpoint)
	}
	return u.Host, u.Scheme == "https", nil
}

func (c Config) withDefaults() Config {
	if c.Region == "" {
		c.Region = defaultRegion
	}
	if c.ConnectWait == 0 {
		c.ConnectWait = defaultConnectWait
	}
	return c
}
