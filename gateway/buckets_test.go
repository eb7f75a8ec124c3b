package gateway_test

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/api/client"
	"github.com/voicemill/voicemill/gateway"
	"github.com/voicemill/voicemill/platform/blob"
	"github.com/voicemill/voicemill/platform/blob/foreign"
	"github.com/voicemill/voicemill/platform/config"
	"github.com/voicemill/voicemill/platform/seal"
	"github.com/voicemill/voicemill/platform/testkit"
)

// takesBuckets allows those of tests.
func takesBuckets(c *gateway.Config) {
	c.Bucket = foreign.Config{Keys: config.NewSecret(sealingKey), AllowPrivate: true, AllowPlain: true}
}

var sealingKey = "test:" + base64.StdEncoding.EncodeToString([]byte("32 bytes that nobody could guess"))

// ownBucket returns a bucket of the test's own, beside the gateway's.
func ownBucket(t *testing.T) (client.BucketRequest, blob.Config) {
	t.Helper()
	cfg := testkit.S3Config(t)
	store, err := blob.Open(t.Context(), cfg) // makes it
	require.NoError(t, err)
	store.Close()
	return client.BucketRequest{
		Name: "shelf", Endpoint: "http://" + cfg.Endpoint, Region: cfg.Region, Bucket: cfg.Bucket, Prefix: "books", PathStyle: true,
		AccessKey: cfg.AccessKey, SecretKey: cfg.SecretKey.Reveal(),
	}, cfg
}

func bodyOf(r client.BucketRequest) string {
	return fmt.Sprintf(`{"name":%q,"endpoint":%q,"region":%q,"bucket":%q,"prefix":%q,"path_style":%t,"access_key":%q,"secret_key":%q}`,
		r.Name, r.Endpoint, r.Region, r.Bucket, r.Prefix, r.PathStyle, r.AccessKey, r.SecretKey)
}

func TestBucketsAreTestedKeptAndForgotten(t *testing.T) {
	t.Parallel()
	w := newWorld(t, takesBuckets)
	c := w.client(w.key)
	own, _ := ownBucket(t)
	b, err := c.CreateBucket(t.Context(), own)
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(b.ID, "bkt_"))
	require.Equal(t, own.Prefix, b.Prefix)
	again, err := c.Bucket(t.Context(), b.ID)
	require.NoError(t, err)
	require.Equal(t, b, again)

	own.Prefix = "other books"
	changed, err := c.ReplaceBucket(t.Context(), b.ID, own)
	require.NoError(t, err)
	require.Equal(t, "other books", changed.Prefix)
	second, err := c.CreateBucket(t.Context(), own)
	require.NoError(t, err)
	page, err := c.Buckets(t.Context(), 1, "")
	require.NoError(t, err)
	require.Equal(t, []client.Bucket{*second}, page.Items)
	page, err = c.Buckets(t.Context(), 0, page.Next)
	require.NoError(t, err)
	require.Equal(t, []client.Bucket{*changed}, page.Items)

	require.NoError(t, c.DeleteBucket(t.Context(), b.ID))
	for _, path := range []string{b.ID, second.ID} { // the second is not the other tenant's
		key := w.key
		if path == second.ID {
			key = w.other
		}
		for method, body := range map[string]string{"GET": "", "PUT": bodyOf(own), "DELETE": ""} {
			require.Equal(t, http.StatusNotFound, w.call(method, "/v1/buckets/"+path, body, "Authorization", "Bearer "+key).Status, method)
		}
	}
	theirs, err := w.client(w.other).Buckets(t.Context(), 0, "")
	require.NoError(t, err)
	require.Empty(t, theirs.Items)
}

func TestCredentialsOfBucketsAreNowhereToBeSeen(t *testing.T) {
	t.Parallel()
	w := newWorld(t, takesBuckets)
	own, _ := ownBucket(t)
	answers := ""
	a := w.call("POST", "/v1/buckets", bodyOf(own), "Idempotency-Key", "k")
	require.Equal(t, http.StatusCreated, a.Status, "%s", a.Body)
	answers += string(a.Body)
	again := w.call("POST", "/v1/buckets", bodyOf(own), "Idempotency-Key", "k")
	require.Equal(t, string(a.Body), string(again.Body), "the same request makes one bucket")
	wrong := own
	wrong.SecretKey += "wrong"
	answers += string(w.call("POST", "/v1/buckets", bodyOf(wrong)).Body)
	answers += string(w.call("GET", "/v1/buckets", "").Body)
	var row string
	w.scan(`select b::text || encode(sealed, 'escape') from buckets b`, &row)
	for where, text := range map[string]string{"answers": answers, "the log": w.log.String(), "the database": row} {
		require.NotContains(t, text, own.SecretKey, where)
		require.NotContains(t, text, own.AccessKey, where)
	}
	keys, err := seal.Parse(sealingKey)
	require.NoError(t, err)
	var id, by string
	var sealed []byte
	w.scan(`select id, sealed_by, sealed from buckets`, &id, &by, &sealed)
	cred, err := foreign.Unseal(keys, by, sealed, id)
	require.NoError(t, err)
	require.Equal(t, own.SecretKey, cred.SecretKey.Reveal())
}

func TestABucketThatDoesNotWorkIsRefusedInWords(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *gateway.Config) { takesBuckets(c); c.Buckets = 1 })
	own, _ := ownBucket(t)
	for says, change := range map[string]func(*client.BucketRequest){
		"SignatureDoesNotMatch: the secret key is not that of the access key": func(r *client.BucketRequest) { r.SecretKey = "wrong" },
		"there is no such access key":                                         func(r *client.BucketRequest) { r.AccessKey = "wrong" },
		"NoSuchBucket: there is no such bucket":                               func(r *client.BucketRequest) { r.Bucket = "nobody-has-it" },
		"the store could not be reached":                                      func(r *client.BucketRequest) { r.Endpoint = "http://127.0.0.1:1" },
	} {
		bad := own
		change(&bad)
		p := w.call("POST", "/v1/buckets", bodyOf(bad)).problem(t)
		require.Equal(t, "/problems/bucket-refused", p.Type, says)
		require.Contains(t, p.Detail, says)
		require.NotContains(t, p.Detail, "127.0.0.1")
	}
	b, err := w.client(w.key).CreateBucket(t.Context(), own)
	require.NoError(t, err)
	bad := own
	bad.SecretKey = "wrong"
	p := w.call("PUT", "/v1/buckets/"+b.ID, bodyOf(bad)).problem(t)
	require.Equal(t, "/problems/bucket-refused", p.Type)
	var changed bool
	w.scan(`select tested_at <> created_at from buckets`, &changed)
	require.False(t, changed, "the old credentials stay")

	p = w.call("POST", "/v1/buckets", bodyOf(own)).problem(t)
	require.Equal(t, "/problems/conflict", p.Type)
	require.Contains(t, p.Detail, "1 buckets already")
	bad = client.BucketRequest{Endpoint: "http://u:p@x", Bucket: "A", AccessKey: "a b", Prefix: "../x", Name: "a\tb"}
	p = w.call("POST", "/v1/buckets", bodyOf(bad)).problem(t)
	require.Equal(t, http.StatusUnprocessableEntity, p.Status)
	var at []string
	for _, f := range p.Errors {
		at = append(at, f.Pointer)
	}
	require.Equal(t, []string{"/access_key", "/bucket", "/endpoint", "/name", "/prefix", "/secret_key"}, at)
}

func TestBucketsNeedAKeyAndAPublicAddress(t *testing.T) {
	t.Parallel()
	own, _ := ownBucket(t)
	w := newWorld(t, nil)
	p := w.call("POST", "/v1/buckets", bodyOf(own)).problem(t)
	require.Equal(t, "/problems/no-bucket-key", p.Type)
	require.Contains(t, p.Detail, "bucket-keys")

	strict := newWorld(t, func(c *gateway.Config) { c.Bucket.Keys = config.NewSecret(sealingKey) })
	for endpoint, says := range map[string]string{
		own.Endpoint: "buckets without TLS are not allowed here", "https://127.0.0.1": "loopback addresses", "https://[::ffff:10.0.0.1]": "private and link-local",
		"https://169.254.169.254": "private and link-local", "https://s3.internal": "names of this machine", "https://0x7f.1": "unusual notation", "https://8.8.8.8:22": "port 22 is not allowed",
	} {
		bad := own
		bad.Endpoint = endpoint
		p := strict.call("POST", "/v1/buckets", bodyOf(bad)).problem(t)
		require.Equal(t, http.StatusUnprocessableEntity, p.Status, endpoint)
		require.Contains(t, p.Detail, says, endpoint)
	}
	reader := w.newKey(tenant, "jobs:read", "jobs:write")
	require.Equal(t, http.StatusOK, w.call("GET", "/v1/buckets", "", "Authorization", "Bearer "+reader).Status)
	for call, body := range map[string]string{"POST /v1/buckets": bodyOf(own), "PUT /v1/buckets/bkt_1": bodyOf(own), "DELETE /v1/buckets/bkt_1": ""} {
		method, path, _ := strings.Cut(call, " ")
		require.Equal(t, http.StatusForbidden, w.call(method, path, body, "Authorization", "Bearer "+reader).Status, call)
	}
}
