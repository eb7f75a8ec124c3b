package s3d_test

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"hash/crc64"
	"io"
	"net/http"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/platform/blob"
	"github.com/voicemill/voicemill/platform/embed/s3d"
)

// TestTheChecksumIsThatOfTheBytes compares with another implementation; the ETag of
// what came in one request is its checksum.
func TestTheChecksumIsThatOfTheBytes(t *testing.T) {
	store := open(t, start(t, t.TempDir()))
	nvme := crc64.MakeTable(0x9a6c9329ac4bc9b5)
	for name, size := range map[string]int{"nothing": 0, "a-byte": 1, "a-little": 1000, "a-rendition": 480_044, "some-more": 3 << 20} {
		data := make([]byte, size)
		for i := range data {
			data[i] = byte(i * i >> 3)
		}
		_, err := store.Put(t.Context(), name, bytes.NewReader(data), int64(size), blob.PutOptions{})
		require.NoError(t, err)
		got, err := store.Stat(t.Context(), name)
		require.NoError(t, err)
		sum := binary.BigEndian.AppendUint64(nil, crc64.Checksum(data, nvme))
		require.Equal(t, "CRC64NVME-"+base64.StdEncoding.EncodeToString(sum), got.ETag, name)
	}
}

// counted counts the requests of a client of its server that look like a HEAD.
type counted struct {
	*s3d.Server
	heads atomic.Int64
}

func (c *counted) Direct(wire http.RoundTripper) http.RoundTripper {
	return &heard{c.Server.Direct(wire), &c.heads}
}

type heard struct {
	http.RoundTripper
	heads *atomic.Int64
}

func (h *heard) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method == http.MethodHead {
		h.heads.Add(1)
	}
	return h.RoundTripper.RoundTrip(r) //nolint:wrapcheck // the caller's own error
}

// TestThisProcessIsToldAtOnceWhatIsKept: it does not ask again, but for what came in parts.
func TestThisProcessIsToldAtOnceWhatIsKept(t *testing.T) {
	s := start(t, t.TempDir())
	way := &counted{Server: s}
	store, err := blob.Open(t.Context(), blob.Config{
		Endpoint: s.Endpoint(), Bucket: "voicemill", AccessKey: s.Credentials().AccessKey, SecretKey: s.Credentials().SecretKey,
	}, blob.InProcess(way))
	require.NoError(t, err)
	t.Cleanup(store.Close)
	before := way.heads.Load() // it looked for the bucket
	for name, c := range map[string]struct {
		size  int
		heads int64
	}{"whole": {480_044, 0}, "parts": {6 << 20, 1}} {
		data := bytes.Repeat([]byte("v"), c.size)
		_, err := store.Put(t.Context(), name, bytes.NewReader(data), int64(c.size), blob.PutOptions{})
		require.NoError(t, err)
		_, err = store.PutOnce(t.Context(), name+"-once", bytes.NewReader(data), int64(c.size), blob.PutOptions{})
		require.NoError(t, err)
		require.Equal(t, c.heads, way.heads.Load()-before, name)
		before = way.heads.Load()
		body, info, err := store.Get(t.Context(), name, blob.GetOptions{})
		require.NoError(t, err)
		got, err := io.ReadAll(body)
		require.NoError(t, err)
		require.NoError(t, body.Close())
		require.True(t, bytes.Equal(data, got))
		require.EqualValues(t, c.size, info.Size)
	}
}
