package foreign

import (
	"encoding/json"
	"fmt"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/config"
	"github.com/voicemill/voicemill/platform/seal"
)

// Place says where a bucket is. The JSON names are those of the API.
type Place struct {
	Endpoint  string `json:"endpoint"`             // https://host[:port]
	Region    string `json:"region,omitempty"`     // that requests are signed for; default us-east-1
	Bucket    string `json:"bucket"`               // which must be there
	Prefix    string `json:"prefix,omitempty"`     // that every path begins with, without slashes around it
	PathStyle bool   `json:"path_style,omitempty"` // the bucket is named in the path and not in the host
}

// Credentials open a bucket.
type Credentials struct {
	AccessKey config.Secret
	SecretKey config.Secret
}

const (
	defaultRegion = "us-east-1"
	maxEndpoint   = 256
	maxKey        = 256
	// MaxPrefix is how many bytes a prefix may have; with the paths below it, keys
	// stay within the 1,024 of S3.
	MaxPrefix = 200
)

var (
	bucketName = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$`)
	regionName = regexp.MustCompile(`^[a-zA-Z0-9-]{1,64}$`)
)

// Faults returns what is wrong with a place and its credentials, as far as that
// can be told without going there.
func (c Config) Faults(p Place, cred Credentials) (faults job.Faults) {
	bad := func(pointer, format string, args ...any) {
		faults.Add(job.Fault{Pointer: pointer, Detail: fmt.Sprintf(format, args...), Kind: job.Invalid})
	}
	if says := c.endpointFault(p.Endpoint); says != "" {
		bad("/endpoint", "%s", says)
	}
	if p.Region != "" && !regionName.MatchString(p.Region) {
		bad("/region", "must be up to 64 letters, digits and hyphens")
	}
	if !bucketName.MatchString(p.Bucket) || strings.Contains(p.Bucket, "..") {
		bad("/bucket", "must be the name of a bucket: 3 to 63 of a-z, 0-9, hyphens and dots")
	}
	if says := prefixFault(p.Prefix); says != "" {
		bad("/prefix", "%s", says)
	}
	for _, key := range []struct {
		pointer string
		value   config.Secret
	}{{"/access_key", cred.AccessKey}, {"/secret_key", cred.SecretKey}} {
		if text := key.value.Reveal(); len(text) == 0 || len(text) > maxKey || strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' }) {
			bad(key.pointer, "must have 1 to %d visible ASCII characters", maxKey)
		}
	}
	return faults
}

func (c Config) endpointFault(endpoint string) string {
	u, err := url.Parse(endpoint)
	switch {
	case err != nil, len(endpoint) > maxEndpoint, u.Host == "", u.Hostname() == "", u.Scheme != "http" && u.Scheme != "https",
		u.Path != "" && u.Path != "/", u.RawQuery != "", u.ForceQuery, u.Fragment != "", u.User != nil, u.Opaque != "":
		return "must be https://host or https://host:port"
	case u.Scheme == "http" && !c.AllowPlain:
		return "must begin with https://; buckets without TLS are not allowed here"
	}
	r := c.rule()
	if reason := r.Host(u.Hostname()); reason != "" {
		return reason + " are not allowed here"
	}
	if port, ok := job.CallbackPort(u, r.Ports); !ok && !r.Any {
		return fmt.Sprintf("port %d is not allowed here; allowed: %s", port, numbers(r.Ports))
	}
	return ""
}

func numbers(ports []uint16) string {
	said := make([]string, len(ports))
	for i, p := range ports {
		said[i] = strconv.Itoa(int(p))
	}
	return strings.Join(said, ", ")
}

func prefixFault(prefix string) string {
	if prefix == "" {
		return ""
	}
	if len(prefix) > MaxPrefix || !utf8.ValidString(prefix) {
		return fmt.Sprintf("must be UTF-8 of up to %d bytes", MaxPrefix)
	}
	for name := range strings.SplitSeq(prefix, "/") {
		if name == "" || strings.HasPrefix(name, ".") {
			return "must be names divided by single slashes, none at either end and none that begins with a dot"
		}
	}
	if strings.ContainsFunc(prefix, func(r rune) bool { return r < ' ' || r == '\\' || r >= 0x7f && r < 0xa0 }) {
		return "must have no control character and no backslash"
	}
	return ""
}

// host returns where to connect, and whether with TLS.
func (p Place) host() (host string, secure bool, err error) {
	u, err := url.Parse(p.Endpoint)
	if err != nil || u.Host == "" {
		return "", false, &job.Error{Op: "foreign.Open", Kind: job.Invalid, Public: "The bucket's endpoint is not an address."}
	}
	if slices.Contains([]string{"", map[string]string{"http": "80", "https": "443"}[u.Scheme]}, u.Port()) {
		return bracketed(u.Hostname()), u.Scheme == "https", nil
	}
	return net.JoinHostPort(u.Hostname(), u.Port()), u.Scheme == "https", nil
}

func bracketed(host string) string {
	if strings.Contains(host, ":") {
		return "[" + host + "]"
	}
	return host
}

// sealed is how credentials are written before they are sealed.
type sealed struct {
	AccessKey string `json:"access_key"`
	SecretKey string `json:"secret_key"`
}

// Seal encrypts credentials for the row of a bucket.
func (cred Credentials) Seal(keys seal.Keys, bucket string) (by string, text []byte, err error) {
	plain, err := json.Marshal(sealed{cred.AccessKey.Reveal(), cred.SecretKey.Reveal()})
	if err != nil {
		return "", nil, fmt.Errorf("encode credentials: %w", err)
	}
	return keys.Seal(plain, bucket)
}

// Unseal is the way back.
func Unseal(keys seal.Keys, by string, text []byte, bucket string) (Credentials, error) {
	plain, err := keys.Open(by, text, bucket)
	if err != nil {
		return Credentials{}, err
	}
	var s sealed
	if err := json.Unmarshal(plain, &s); err != nil {
		return Credentials{}, &job.Error{Op: "foreign.Unseal", Kind: job.Internal} // err may quote it
	}
	return Credentials{config.NewSecret(s.AccessKey), config.NewSecret(s.SecretKey)}, nil
}
