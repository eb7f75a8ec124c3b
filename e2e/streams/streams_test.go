package streams_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/voicemill/voicemill/api/jobdoc"
	"github.com/voicemill/voicemill/e2e/internal/stage"
	"github.com/voicemill/voicemill/platform/blob"
	"github.com/voicemill/voicemill/platform/testkit"
)

// mostRSS is what the gateway may take for everything.
const mostRSS = 100_000_000

var bin string //nolint:gochecknoglobals // where TestMain built the commands

func TestMain(m *testing.M) {
	if url := os.Getenv(probeURL); url != "" {
		os.Exit(probe(url, os.Getenv(probeKey), os.Getenv(probeRef)))
	}
	if os.Getenv(yardEnv) != "" {
		os.Exit(serveYardstick())
	}
	os.Exit(stage.Main(m, &bin))
}

// load is what passes through the gateway at the same time.
type load struct {
	clients int     // in each direction
	bytes   int64   // each
	rate    float64 // bytes a second of all clients of a direction together
	alone   time.Duration
	giveWay bool // whether what would be on other machines gives way to the gateway
}

// size reads the load from the environment: small in the tests, large in
// make bench-streams.
func size(t *testing.T) load {
	t.Helper()
	number := func(name string, small int) int {
		n, err := strconv.Atoi(os.Getenv("VOICEMILL_STREAMS_" + name))
		if err != nil {
			return small
		}
		return n
	}
	return load{
		clients: number("CLIENTS", 12), bytes: int64(number("MIB", 16)) << 20, rate: float64(number("RATE", 96)) * (1 << 20),
		alone: time.Duration(number("ALONE", 4)) * time.Second, giveWay: number("GIVE_WAY", 0) == 1,
	}
}

func TestManyBodiesPassThroughInLittleMemory(t *testing.T) {
	l := size(t)
	var r *relay
	s := stage.NewThrough(t, bin, func(s3 string) string {
		r = newRelay(t, s3)
		return r.ln.Addr().String()
	}, stage.Patient()...)
	c := &caller{url: s.URL, key: s.Key, wheel: wheel(), http: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 2 * l.clients}}}
	t.Cleanup(c.http.CloseIdleConnections)
	bucket := s.Bucket(t)
	job, path := c.book(t, bucket, l.bytes)

	status, yardstick := s.URL+"/v1/jobs/"+job, startYardstick(t)
	end := startProbe(t, status, s.Key, yardstick)
	require.NoError(t, rest(t.Context(), l.alone/2))
	alone := end()

	r.slow(l.rate)
	end = startProbe(t, status, s.Key, yardstick)
	if l.giveWay {
		giveWay(t, os.Getpid())
		giveWay(t, s.PID(stage.S3))
	}
	begin := time.Now()
	all, ctx := errgroup.WithContext(t.Context())
	uploads := make([]string, l.clients)
	for i := range l.clients {
		all.Go(func() (err error) {
			uploads[i], err = c.upload(ctx, l.bytes)
			return err
		})
		all.Go(func() error {
			rate := l.rate / float64(l.clients)
			// Readers that begin together would read in step for ever, as no clients do.
			phase := time.Duration(float64(readPiece) / rate * float64(i) / float64(l.clients) * float64(time.Second))
			if err := rest(ctx, phase); err != nil {
				return err
			}
			return c.download(ctx, path, l.bytes, rate)
		})
	}
	require.NoError(t, all.Wait())
	took := time.Since(begin)
	busy := end()

	end = startProbe(t, status, s.Key, yardstick)
	require.NoError(t, rest(t.Context(), l.alone/2))
	alone = alone.and(end()) // before and after, as others of this machine come and go

	peak := testkit.PeakMemory(t, s.PID(stage.Gateway))
	t.Logf("%d uploads and %d downloads of %d MiB at once: %s, %.0f MB/s each way", l.clients, l.clients, l.bytes>>20,
		took.Round(100*time.Millisecond), float64(l.clients)*float64(l.bytes)/took.Seconds()/1e6)
	t.Logf("gateway at most %.1f MB resident", float64(peak)/1e6)
	t.Logf("status alone:        %s", alone.Status)
	t.Logf("status meanwhile:    %s, %.2f times", busy.Status, busy.Status.times(alone.Status))
	t.Logf("yardstick alone:     %s", alone.Yardstick)
	t.Logf("yardstick meanwhile: %s, %.2f times", busy.Yardstick, busy.Yardstick.times(alone.Yardstick))
	if peak > mostRSS {
		t.Errorf("the gateway took %d bytes; at most %d", peak, mostRSS)
	}
	if alone.Status.Failed+busy.Status.Failed > 0 {
		t.Errorf("%d and %d requests for the status failed", alone.Status.Failed, busy.Status.Failed)
	}
	for _, id := range uploads {
		stored(t, bucket, "uploads/default/"+id, c.wheel, l.bytes)
	}
}

// stored checks an object and removes it.
func stored(t *testing.T, b *blob.Store, key string, wheel []byte, size int64) {
	t.Helper()
	body, info, err := b.Get(t.Context(), key, blob.GetOptions{})
	require.NoError(t, err)
	require.NoError(t, (&document{wheel: wheel, size: size}).check(t.Context(), body, 0), key)
	require.NoError(t, body.Close())
	require.Equal(t, size, info.Size)
	require.NoError(t, b.Delete(t.Context(), key))
}

// readPiece is how much a slow reader takes at a time.
const readPiece = 32 << 10

// period is after how many bytes a document repeats itself, an odd number so that
// no piece of the way can be exchanged for another.
const period = 251

// wheel is a document without end, long enough for every piece of one.
func wheel() []byte {
	b := make([]byte, period+64<<10)
	for i := range b {
		b[i] = byte(i % period)
	}
	return b
}

// document is a reader of the first size bytes of the wheel.
type document struct {
	wheel    []byte
	at, size int64
}

// Read reads on.
func (d *document) Read(p []byte) (int, error) {
	if d.at == d.size {
		return 0, io.EOF
	}
	n := copy(p[:min(int64(len(p)), d.size-d.at)], d.wheel[d.at%period:])
	d.at += int64(n)
	return n, nil
}

// check reads r to its end, at a rate if that is not 0, and compares it with the
// document.
func (d *document) check(ctx context.Context, r io.Reader, rate float64) error {
	piece := make([]byte, readPiece)
	begin := time.Now()
	for {
		n, err := io.ReadFull(r, piece)
		if int64(n) > d.size-d.at || !bytes.Equal(piece[:n], d.wheel[d.at%period:][:n]) {
			return fmt.Errorf("it is another document between byte %d and %d", d.at, d.at+int64(n))
		}
		d.at += int64(n)
		switch {
		case err == io.EOF || err == io.ErrUnexpectedEOF:
			if d.at < d.size {
				return fmt.Errorf("it ends after %d bytes of %d", d.at, d.size)
			}
			return nil
		case err != nil:
			return fmt.Errorf("read after %d bytes: %w", d.at, err)
		case rate > 0:
			if err := rest(ctx, time.Duration(float64(d.at)/rate*float64(time.Second))-time.Since(begin)); err != nil {
				return err
			}
		}
	}
}

// caller speaks to the gateway.
type caller struct {
	url, key string
	http     *http.Client
	wheel    []byte
}

func (c *caller) do(ctx context.Context, method, path, media string, body io.Reader, size int64) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.url+path, body)
	if err != nil {
		return nil, err
	}
	req.ContentLength = size
	req.Header.Set("Authorization", "Bearer "+c.key)
	if media != "" {
		req.Header.Set("Content-Type", media)
	}
	return c.http.Do(req)
}

// call sends JSON and reads JSON.
func (c *caller) call(ctx context.Context, method, path, body string, want int, into any) error {
	media := ""
	if body != "" {
		media = "application/json"
	}
	resp, err := c.do(ctx, method, path, media, strings.NewReader(body), int64(len(body)))
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	return read(resp, want, into)
}

func read(resp *http.Response, want int, into any) error {
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode != want {
		return fmt.Errorf("%s %s: %s: %s", resp.Request.Method, resp.Request.URL.Path, resp.Status, raw)
	}
	return json.Unmarshal(raw, into)
}

// book has a job rendered and puts a file of size bytes in the place of what it
// made. It returns the job and the path of the file.
func (c *caller) book(t *testing.T, b *blob.Store, size int64) (id, path string) {
	t.Helper()
	var d jobdoc.Document
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	require.NoError(t, c.call(ctx, http.MethodPost, "/v1/jobs", `{"input":{"text":"It was the best of times."}}`, http.StatusAccepted, &d))
	id = string(d.ID)
	for d.State != "succeeded" {
		require.False(t, d.State.Final(), "the job ended as %s", d.State)
		require.NoError(t, c.call(ctx, http.MethodGet, "/v1/jobs/"+id+"?wait=30", "", http.StatusOK, &d))
	}
	require.NotEmpty(t, d.Artifacts)
	name := d.Artifacts[0].Name
	for info, err := range b.List(t.Context(), "") {
		require.NoError(t, err)
		if strings.Contains(info.Key, id) && strings.HasSuffix(info.Key, "/"+name) {
			_, err := b.Put(t.Context(), info.Key, &document{wheel: c.wheel, size: size}, size, blob.PutOptions{ContentType: "audio/wav"})
			require.NoError(t, err)
			return id, "/v1/jobs/" + id + "/artifacts/" + name + "?proxy=1"
		}
	}
	t.Fatalf("%s is not in the bucket", name)
	return "", ""
}

// upload sends a document as fast as it is taken.
func (c *caller) upload(ctx context.Context, size int64) (id string, err error) {
	var u struct {
		ID      string `json:"id"`
		Content string `json:"content_url"`
		Bytes   int64  `json:"bytes"`
	}
	if err := c.call(ctx, http.MethodPost, "/v1/uploads", `{"media_type":"text/plain"}`, http.StatusCreated, &u); err != nil {
		return "", err
	}
	resp, err := c.do(ctx, http.MethodPut, u.Content, "text/plain", &document{wheel: c.wheel, size: size}, size)
	if err != nil {
		return "", err
	}
	defer func() { _ = resp.Body.Close() }()
	if err := read(resp, http.StatusCreated, &u); err != nil {
		return "", err
	}
	if u.Bytes != size {
		return "", fmt.Errorf("%d bytes were stored of %d", u.Bytes, size)
	}
	return u.ID, nil
}

// download reads a file at a rate.
func (c *caller) download(ctx context.Context, path string, size int64, rate float64) error {
	resp, err := c.do(ctx, http.MethodGet, path, "", http.NoBody, 0)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK || resp.ContentLength != size {
		return fmt.Errorf("%s: %s, %d bytes", path, resp.Status, resp.ContentLength)
	}
	if err := (&document{wheel: c.wheel, size: size}).check(ctx, resp.Body, rate); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}
