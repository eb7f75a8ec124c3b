package foreign_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/blob"
	"github.com/voicemill/voicemill/platform/blob/foreign"
	"github.com/voicemill/voicemill/platform/config"
	"github.com/voicemill/voicemill/platform/seal"
	"github.com/voicemill/voicemill/platform/testkit"
)

func TestMain(m *testing.M) {
	testkit.MD5ETags() // by which it is known what has arrived
	testkit.Main(m)
}

// near allows what tests reach.
var near = foreign.Config{AllowPrivate: true, AllowPlain: true}

// owned is an owner's bucket on a real S3 server.
type owned struct {
	place foreign.Place
	cred  foreign.Credentials
	store *blob.Store // the same bucket, as its owner looks into it
}

func newOwned(t *testing.T) owned {
	t.Helper()
	cfg := testkit.S3Config(t)
	store, err := blob.Open(t.Context(), cfg)
	require.NoError(t, err)
	t.Cleanup(store.Close)
	return owned{
		place: foreign.Place{Endpoint: "http://" + cfg.Endpoint, Region: cfg.Region, Bucket: cfg.Bucket, Prefix: "shelf/books", PathStyle: true},
		cred:  foreign.Credentials{AccessKey: config.NewSecret(cfg.AccessKey), SecretKey: cfg.SecretKey},
		store: store,
	}
}

func (o owned) open(t *testing.T) *foreign.Bucket {
	t.Helper()
	b, err := foreign.Open(near, o.place, o.cred)
	require.NoError(t, err)
	t.Cleanup(b.Close)
	return b
}

// through leads all requests over a handler to the bucket.
func (o owned) through(t *testing.T, wrap func(http.Handler) http.Handler) owned {
	t.Helper()
	u, err := url.Parse(o.place.Endpoint)
	require.NoError(t, err)
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(u); r.Out.Host = r.In.Host }}
	srv := httptest.NewServer(wrap(proxy))
	t.Cleanup(srv.Close)
	o.place.Endpoint = srv.URL
	return o
}

func (o owned) holds(t *testing.T, path string) []byte {
	t.Helper()
	for info, err := range o.store.List(t.Context(), "shelf/books/") {
		require.NoError(t, err)
		if info.Key == "shelf/books/"+path {
			r, _, err := o.store.Get(t.Context(), info.Key, blob.GetOptions{})
			require.NoError(t, err)
			data, err := io.ReadAll(r)
			require.NoError(t, errors.Join(err, r.Close()))
			return data
		}
	}
	return nil
}

func object(path string, data []byte) foreign.Object {
	return foreign.Object{
		Path: path, Media: "audio/wav", Size: int64(len(data)), SHA256: sha256.Sum256(data),
		Open:  func(context.Context) (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data)), nil },
		Began: func(context.Context, string) error { return nil },
	}
}

// large has two parts that are not alike.
func large() []byte {
	data := make([]byte, foreign.PartBytes+1000)
	for i := range data {
		data[i] = byte(i>>16) ^ byte(i)
	}
	return data
}

func TestAProbeLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	o := newOwned(t)
	require.NoError(t, o.open(t).Probe(t.Context()))
	for info, err := range o.store.List(t.Context(), "") {
		t.Errorf("%s is left, %v", info.Key, err)
	}
}

func TestObjectsArriveWholeAndOnce(t *testing.T) {
	t.Parallel()
	var puts atomic.Int64
	o := newOwned(t)
	b := o.through(t, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodPut {
				puts.Add(1)
			}
			next.ServeHTTP(w, r)
		})
	}).open(t)
	small := []byte("a small file")
	for path, data := range map[string][]byte{"a.wav": small, "large.wav": large(), "empty.wav": {}} {
		require.NoError(t, b.Put(t.Context(), object(path, data)), path)
		before := puts.Load()
		require.NoError(t, b.Put(t.Context(), object(path, data)), path)
		require.Equal(t, before, puts.Load(), "what is there is left alone")
		require.True(t, bytes.Equal(data, o.holds(t, path)), path)
	}
	require.NoError(t, b.Put(t.Context(), object("a.wav", []byte("another file"))))
	require.Equal(t, "another file", string(o.holds(t, "a.wav")))
}

func TestNamesOfBooksAreKeptAsTheyAre(t *testing.T) {
	t.Parallel()
	o := newOwned(t)
	path := "Jürgen Müller/Das große Buch, Teil 1/003 - Hallo, Welt! (neu) & 100% +.wav"
	require.NoError(t, o.open(t).Put(t.Context(), object(path, []byte("x"))))
	var keys []string
	for info, err := range o.store.List(t.Context(), "") {
		require.NoError(t, err)
		keys = append(keys, info.Key)
	}
	require.Equal(t, []string{"shelf/books/" + path}, keys)
}

// After any request that is cut off, the same Put ends well and sends only what is
// missing.
func TestAnUploadThatWasCutOffGoesOn(t *testing.T) {
	t.Parallel()
	data := large()
	for cut := int64(1); ; cut++ {
		o := newOwned(t)
		var n, parts atomic.Int64
		broken := o.through(t, func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				answer := httptest.NewRecorder()
				next.ServeHTTP(answer, r)
				if answer.Code == http.StatusOK && r.Method == http.MethodPut && r.URL.Query().Has("partNumber") {
					parts.Add(1)
				}
				if n.Add(1) >= cut { // it arrives, and nobody hears of it
					panic(http.ErrAbortHandler)
				}
				maps.Copy(w.Header(), answer.Header())
				w.WriteHeader(answer.Code)
				_, _ = w.Write(answer.Body.Bytes())
			})
		})
		upload := ""
		object := object("large.wav", data)
		object.Began = func(_ context.Context, id string) error { upload = id; return nil }
		err := broken.open(t).Put(t.Context(), object)
		if err == nil {
			require.Equal(t, int64(7), cut, "ask, begin, two parts, complete, confirm")
			return
		}
		require.True(t, job.Retryable(err), "%v", err)
		var again atomic.Int64
		object.Upload = upload
		require.NoError(t, o.through(t, func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Method == http.MethodPut && r.URL.Query().Has("partNumber") {
					again.Add(1)
				}
				next.ServeHTTP(w, r)
			})
		}).open(t).Put(t.Context(), object), "cut at request %d", cut)
		require.True(t, bytes.Equal(data, o.holds(t, "large.wav")), "cut at request %d", cut)
		if upload != "" {
			require.Equal(t, max(0, 2-parts.Load()), again.Load(), "cut at request %d: what the store took is not sent again", cut)
		}
	}
}

func TestADamagedSourceIsNotDelivered(t *testing.T) {
	t.Parallel()
	o := newOwned(t)
	for name, data := range map[string][]byte{"small.wav": []byte("a small file"), "large.wav": large()} {
		damaged, short := object(name, data), object(name, data)
		damaged.SHA256[0] ^= 1
		short.Size++
		for _, bad := range []foreign.Object{damaged, short} {
			err := o.open(t).Put(t.Context(), bad)
			require.Equal(t, job.Internal, job.KindOf(err), "%v", err)
			require.Nil(t, o.holds(t, name))
		}
	}
}

// A bucket of ours that is away in the middle of a file has not damaged it.
func TestASourceThatIsAwayIsNotDamaged(t *testing.T) {
	t.Parallel()
	o := newOwned(t)
	for name, data := range map[string][]byte{"small.wav": []byte("a small file"), "large.wav": large()} {
		for _, cause := range []error{io.EOF, io.ErrUnexpectedEOF} {
			away := &job.Error{Op: "test", Kind: job.Unavailable, Err: cause}
			cut := object(name, data)
			cut.Open = func(context.Context) (io.ReadCloser, error) {
				return io.NopCloser(io.MultiReader(bytes.NewReader(data[:len(data)-1]), iotest.ErrReader(away))), nil
			}
			require.ErrorIs(t, o.open(t).Put(t.Context(), cut), away, "%s, %v", name, cause)
			require.Nil(t, o.holds(t, name))
		}
	}
}

func TestFailuresAreNamedAndLeakNothing(t *testing.T) {
	t.Parallel()
	o := newOwned(t)
	answer := func(status int, body string) func(*owned) {
		return func(o *owned) {
			*o = o.through(t, func(http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					w.Header().Set("Location", "http://169.254.169.254/latest")
					w.WriteHeader(status)
					_, _ = io.WriteString(w, body)
				})
			})
		}
	}
	for name, c := range map[string]struct {
		change func(*owned)
		kind   job.Kind
		says   string
	}{
		"no such key":    {func(o *owned) { o.cred.AccessKey = config.NewSecret("nobody") }, job.Unauthorized, "there is no such access key"},
		"wrong secret":   {func(o *owned) { o.cred.SecretKey = config.NewSecret("wrong-wrong-wrong") }, job.Unauthorized, "SignatureDoesNotMatch"},
		"no bucket":      {func(o *owned) { o.place.Bucket = "nobody-has-this" }, job.NotFound, "NoSuchBucket"},
		"nobody there":   {func(o *owned) { o.place.Endpoint = "http://127.0.0.1:1" }, job.Unavailable, "could not be reached"},
		"no name":        {func(o *owned) { o.place.Endpoint = "http://no-such-host.invalid" }, job.Unavailable, "could not be resolved"},
		"a redirect":     {answer(http.StatusTemporaryRedirect, ""), job.Invalid, "redirects are not followed"},
		"another's":      {answer(http.StatusBadRequest, "<html>top secret page</html>"), job.Invalid, "status 400"},
		"a foreign text": {answer(http.StatusForbidden, "<Error><Code>Top secret &amp; text</Code><Message>top secret</Message></Error>"), job.Forbidden, "status 403"},
		"its own fault":  {answer(http.StatusBadGateway, strings.Repeat("x", 1<<20)), job.Unavailable, "status 502"},
		"no room":        {answer(http.StatusForbidden, "<Error><Code>QuotaExceeded</Code></Error>"), job.Overloaded, "no room left"},
	} {
		changed := o
		c.change(&changed)
		err := changed.open(t).Probe(t.Context())
		require.Error(t, err, name)
		require.Equal(t, c.kind, job.KindOf(err), "%s: %v", name, err)
		told := job.PublicOf(err, "")
		require.Contains(t, told, c.says, name)
		for _, secret := range []string{"127.0.0.1", "169.254", "top secret", "Top secret", o.cred.SecretKey.Reveal()} {
			require.NotContains(t, told, secret, name)
		}
	}
}

func TestWhatIsNotAllowedIsNotReached(t *testing.T) {
	t.Parallel()
	o := newOwned(t)
	for name, c := range map[string]struct {
		cfg  foreign.Config
		says string
	}{
		"an address":  {foreign.Config{AllowPlain: true}, "loopback addresses are not allowed here"},
		"without TLS": {foreign.Config{AllowPrivate: true}, "buckets without TLS are not allowed here"},
	} {
		_, err := foreign.Open(c.cfg, o.place, o.cred)
		require.Equal(t, job.Forbidden, job.KindOf(err), name)
		require.ErrorContains(t, err, c.says, name)
	}
}

func TestFaultsOfAPlaceAreNamed(t *testing.T) {
	t.Parallel()
	good := foreign.Place{Endpoint: "https://s3.example.com", Bucket: "my-books", Prefix: "a/b c"}
	cred := foreign.Credentials{AccessKey: config.NewSecret("k"), SecretKey: config.NewSecret("s")}
	none := foreign.Config{}.Faults(good, cred)
	require.False(t, none.Any())
	for pointer, changes := range map[string][]func(*foreign.Place){
		"/endpoint": {
			func(p *foreign.Place) { p.Endpoint = "" }, func(p *foreign.Place) { p.Endpoint = "s3.example.com" }, func(p *foreign.Place) { p.Endpoint = "ftp://s3.example.com" },
			func(p *foreign.Place) { p.Endpoint = "https://u:p@s3.example.com" }, func(p *foreign.Place) { p.Endpoint = "https://s3.example.com/path" },
			func(p *foreign.Place) { p.Endpoint = "https://s3.example.com?x=1" }, func(p *foreign.Place) { p.Endpoint = "https://s3.example.com:9000" },
			func(p *foreign.Place) { p.Endpoint = "http://s3.example.com" }, func(p *foreign.Place) { p.Endpoint = "https://127.0.0.1" },
			func(p *foreign.Place) { p.Endpoint = "https://[::1]" }, func(p *foreign.Place) { p.Endpoint = "https://169.254.169.254" },
			func(p *foreign.Place) { p.Endpoint = "https://0x7f.1" }, func(p *foreign.Place) { p.Endpoint = "https://x.internal" },
		},
		"/bucket": {func(p *foreign.Place) { p.Bucket = "" }, func(p *foreign.Place) { p.Bucket = "a/b" }, func(p *foreign.Place) { p.Bucket = "a..b" }, func(p *foreign.Place) { p.Bucket = "169.254.169.254/" }},
		"/region": {func(p *foreign.Place) { p.Region = "eu west" }},
		"/prefix": {
			func(p *foreign.Place) { p.Prefix = "/a" }, func(p *foreign.Place) { p.Prefix = "a/" }, func(p *foreign.Place) { p.Prefix = "a/../b" },
			func(p *foreign.Place) { p.Prefix = "a\nb" }, func(p *foreign.Place) { p.Prefix = "\xff" }, func(p *foreign.Place) { p.Prefix = strings.Repeat("a", 201) },
		},
	} {
		for _, change := range changes {
			p := good
			change(&p)
			faults := foreign.Config{}.Faults(p, cred)
			require.Len(t, faults.List, 1, "%+v", p)
			require.Equal(t, pointer, faults.List[0].Pointer)
		}
	}
	faults := foreign.Config{}.Faults(good, foreign.Credentials{SecretKey: config.NewSecret("a b")})
	require.Len(t, faults.List, 2)
}

func TestCredentialsAreSealed(t *testing.T) {
	t.Parallel()
	keys, err := seal.Parse("a:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=")
	require.NoError(t, err)
	cred := foreign.Credentials{AccessKey: config.NewSecret("an-access-key"), SecretKey: config.NewSecret("a-secret-key")}
	by, text, err := cred.Seal(keys, "bkt_1")
	require.NoError(t, err)
	require.NotContains(t, string(text), "key")
	back, err := foreign.Unseal(keys, by, text, "bkt_1")
	require.NoError(t, err)
	require.Equal(t, "a-secret-key", back.SecretKey.Reveal())
	require.Equal(t, "an-access-key", back.AccessKey.Reveal())
	_, err = foreign.Unseal(keys, by, text, "bkt_2")
	require.Error(t, err)
}
