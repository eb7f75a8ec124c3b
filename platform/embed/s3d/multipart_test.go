package s3d

import (
	"bytes"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/stretchr/testify/require"
	"github.com/versity/versitygw/s3response"
	"golang.org/x/sys/unix"
)

const (
	testBucket = "voicemill"
	testKey    = "a/book.wav"
	testPart   = 5 << 20
)

// begun returns a store with an upload of n parts that wants completing.
func begun(t *testing.T, n int) (*store, *s3.CompleteMultipartUploadInput) {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(dir, "objects"), 0o700))
	s, err := open(dir, false, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	t.Cleanup(s.Shutdown)
	bucket, key := testBucket, testKey
	require.NoError(t, s.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: &bucket}, nil))
	up, err := s.CreateMultipartUpload(t.Context(), s3response.CreateMultipartUploadInput{Bucket: &bucket, Key: &key})
	require.NoError(t, err)
	done := &types.CompletedMultipartUpload{}
	for i := range n {
		number, size := int32(i+1), int64(testPart) //nolint:gosec // small
		part, err := s.UploadPart(t.Context(), &s3.UploadPartInput{
			Bucket: &bucket, Key: &key, UploadId: &up.UploadId, PartNumber: &number, ContentLength: &size,
			Body: bytes.NewReader(bytes.Repeat([]byte{byte(i)}, testPart)),
		})
		require.NoError(t, err)
		done.Parts = append(done.Parts, types.CompletedPart{PartNumber: &number, ETag: part.ETag})
	}
	return s, &s3.CompleteMultipartUploadInput{Bucket: &bucket, Key: &key, UploadId: &up.UploadId, MultipartUpload: done}
}

func TestAnObjectThatDoesNotFitIsRefused(t *testing.T) {
	const parts = 3
	s, complete := begun(t, parts)
	whole := filepath.Join(s.root, testBucket, testKey)

	// A limit on files ends a write in the middle, as a full disk does.
	signal.Ignore(unix.SIGXFSZ)
	t.Cleanup(func() { signal.Reset(unix.SIGXFSZ) })
	var was unix.Rlimit
	require.NoError(t, unix.Getrlimit(unix.RLIMIT_FSIZE, &was))
	unlimited := sync.OnceFunc(func() { require.NoError(t, unix.Setrlimit(unix.RLIMIT_FSIZE, &was)) })
	t.Cleanup(unlimited)
	require.NoError(t, unix.Setrlimit(unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: testPart * 3 / 2, Max: was.Max}))
	_, _, err := s.CompleteMultipartUpload(t.Context(), complete)
	unlimited()
	require.Error(t, err)
	require.NoFileExists(t, whole)

	_, _, err = s.CompleteMultipartUpload(t.Context(), complete)
	require.NoError(t, err, "once there is room")
	info, err := os.Stat(whole)
	require.NoError(t, err)
	require.EqualValues(t, parts*testPart, info.Size())
}

func TestARepeatedCompleteSpeaksOfTheWholeObject(t *testing.T) {
	s, complete := begun(t, 20)
	whole := filepath.Join(s.root, testBucket, testKey)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			_, _, err := s.CompleteMultipartUpload(t.Context(), complete)
			if err != nil && strings.Contains(err.Error(), "NoSuchUpload") {
				return // it came when all was over
			}
			if err != nil {
				t.Error(err)
			}
			if _, err := os.Stat(whole); err != nil {
				t.Errorf("answered before the object was there: %v", err)
			}
		})
	}
	wg.Wait()
}
