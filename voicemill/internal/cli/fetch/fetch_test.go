package fetch_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"

	"go.uber.org/goleak"

	"github.com/voicemill/voicemill/voicemill/internal/cli/fetch"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	errAway = errors.New("nobody answers")
	errGone = errors.New("there is no such file")
)

// source serves content, broken as the test says.
type source struct {
	content []byte
	cuts    []int // lengths of the first bodies; then whole ones
	away    int   // how many opens fail first
	whole   bool  // it ignores offsets
	offsets []int64
}

func (s *source) open(_ context.Context, _ string, offset int64) (fetch.Body, error) {
	if s.away > 0 {
		s.away--
		return fetch.Body{}, errAway
	}
	s.offsets = append(s.offsets, offset)
	if s.whole {
		offset = 0
	}
	rest := s.content[min(offset, int64(len(s.content))):]
	if len(s.cuts) > 0 {
		rest = rest[:min(s.cuts[0], len(rest))]
		s.cuts = s.cuts[1:]
	}
	return fetch.Body{ReadCloser: io.NopCloser(bytes.NewReader(rest)), Offset: offset}, nil
}

func newFetcher(t *testing.T, s *source) (*fetch.Fetcher, string) {
	t.Helper()
	dir := t.TempDir()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = root.Close() })
	return &fetch.Fetcher{
		Root: root, Open: s.open,
		Away: func(err error) bool { return errors.Is(err, errAway) },
	}, dir
}

func file(content []byte) fetch.File {
	sum := sha256.Sum256(content)
	return fetch.File{Name: "a.wav", Bytes: int64(len(content)), SHA256: hex.EncodeToString(sum[:])}
}

func names(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return strings.Join(all, " ")
}

func put(t *testing.T, dir, name string, content []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestFetchMakesTheFileStandWhole(t *testing.T) {
	t.Parallel()
	content := bytes.Repeat([]byte("voicemill "), 100_000)
	for name, c := range map[string]struct {
		source source
		part   []byte // left by a former run
	}{
		"in one go":                          {},
		"after broken transfers":             {source: source{cuts: []int{10, 300_000, 1}}},
		"after a server that was away":       {source: source{away: 3}},
		"going on where a former run ended":  {part: content[:400_000]},
		"when the former run had everything": {part: content},
		"when the former run was of another": {part: bytes.Repeat([]byte("x"), 999)},
		"when the former part is too long":   {part: append(bytes.Clone(content), 'x')},
		"from a server without ranges":       {source: source{whole: true, cuts: []int{500}}},
		"without ranges, with a former part": {source: source{whole: true}, part: content[:7]},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := c.source
				s.content = content
				f, dir := newFetcher(t, &s)
				if c.part != nil {
					put(t, dir, "a.wav.part", c.part)
				}
				if kept, err := f.Fetch(t.Context(), file(content)); kept || err != nil {
					t.Fatalf("Fetch = %v, %v; want it fetched", kept, err)
				}
				got, err := os.ReadFile(filepath.Join(dir, "a.wav"))
				if err != nil || !bytes.Equal(got, content) {
					t.Errorf("the file has %d bytes, %v; want the content", len(got), err)
				}
				if got := names(t, dir); got != "a.wav" {
					t.Errorf("folder = %q; want a.wav alone", got)
				}
			})
		})
	}
}

func TestABrokenTransferGoesOnWhereItEnded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		content := []byte(strings.Repeat("0123456789", 10))
		s := &source{content: content, cuts: []int{30, 20}}
		f, _ := newFetcher(t, s)
		if _, err := f.Fetch(t.Context(), file(content)); err != nil {
			t.Fatal(err)
		}
		if len(s.offsets) != 3 || s.offsets[1] != 30 || s.offsets[2] != 50 {
			t.Errorf("offsets = %v; want 0, 30, 50", s.offsets)
		}
	})
}

func TestADamagedFileLeavesNothing(t *testing.T) {
	t.Parallel()
	content := []byte("what the job says")
	for name, arrived := range map[string]string{
		"other bytes": "What the job says", "too long": "what the job says, and more",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f, dir := newFetcher(t, &source{content: []byte(arrived)})
			if _, err := f.Fetch(t.Context(), file(content)); !errors.Is(err, fetch.ErrDamaged) {
				t.Errorf("Fetch = %v; want ErrDamaged", err)
			}
			if got := names(t, dir); got != "" {
				t.Errorf("folder = %q; want it empty", got)
			}
		})
	}
}

func TestATruncatedFileIsGivenUpAndKept(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f, dir := newFetcher(t, &source{content: []byte("what the")})
		if _, err := f.Fetch(t.Context(), file([]byte("what the job says"))); err == nil || errors.Is(err, fetch.ErrDamaged) {
			t.Errorf("Fetch = %v; want an error that is not ErrDamaged", err)
		}
		if got := names(t, dir); got != "a.wav.part" {
			t.Errorf("folder = %q; want the part", got)
		}
	})
}

func TestAFileThatStandsIsNotTouched(t *testing.T) {
	t.Parallel()
	content := []byte("content")
	s := &source{content: content}
	f, dir := newFetcher(t, s)
	put(t, dir, "a.wav", content)
	if kept, err := f.Fetch(t.Context(), file(content)); !kept || err != nil || len(s.offsets) > 0 {
		t.Errorf("Fetch of what is there = %v, %v after %d opens; want it kept", kept, err, len(s.offsets))
	}
	put(t, dir, "a.wav", []byte("a diary"))
	if _, err := f.Fetch(t.Context(), file(content)); !errors.Is(err, fetch.ErrExists) {
		t.Errorf("Fetch over another file = %v; want ErrExists", err)
	}
	if got, _ := os.ReadFile(filepath.Join(dir, "a.wav")); string(got) != "a diary" {
		t.Errorf("the other file = %q; want it untouched", got)
	}
	f.Replace = true
	if _, err := f.Fetch(t.Context(), file(content)); err != nil {
		t.Errorf("Fetch with Replace = %v", err)
	}
}

func TestARefusalIsNotRepeated(t *testing.T) {
	t.Parallel()
	f, _ := newFetcher(t, &source{})
	opens := 0
	f.Open = func(context.Context, string, int64) (fetch.Body, error) {
		opens++
		return fetch.Body{}, errGone
	}
	if _, err := f.Fetch(t.Context(), file([]byte("x"))); !errors.Is(err, errGone) || opens != 1 {
		t.Errorf("Fetch = %v after %d opens; want the refusal after one", err, opens)
	}
}

func TestAPartThatLeadsOutOfTheFolderIsRefused(t *testing.T) {
	t.Parallel()
	content := []byte("content")
	f, dir := newFetcher(t, &source{content: content})
	outside := filepath.Join(t.TempDir(), "victim")
	if err := os.Symlink(outside, filepath.Join(dir, "a.wav.part")); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Fetch(t.Context(), file(content)); err == nil {
		t.Error("Fetch through a symbolic link = nil; want an error")
	}
	if _, err := os.Lstat(outside); err == nil {
		t.Error("a file was made outside of the folder")
	}
}

func TestTwoFetchersDoNotShareAPart(t *testing.T) {
	t.Parallel()
	content := []byte("content")
	f, dir := newFetcher(t, &source{content: content})
	other, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close() //nolint:errcheck // of a test
	second := &fetch.Fetcher{Root: other, Open: f.Open, Away: f.Away}
	var inner error
	open := f.Open
	f.Open = func(ctx context.Context, name string, offset int64) (fetch.Body, error) {
		_, inner = second.Fetch(ctx, file(content))
		return open(ctx, name, offset)
	}
	if _, err := f.Fetch(t.Context(), file(content)); err != nil {
		t.Errorf("the first = %v; want it to finish", err)
	}
	if !errors.Is(inner, fetch.ErrBusy) {
		t.Errorf("the second = %v; want ErrBusy", inner)
	}
}

// stuck never brings a byte, like a connection whose other end lost its power.
type stuck struct{ ctx context.Context } //nolint:containedctx // a body belongs to one call

func (s stuck) Read([]byte) (int, error) {
	<-s.ctx.Done()
	return 0, s.ctx.Err()
}

func (stuck) Close() error { return nil }

func TestATransferThatDoesNotMoveIsStartedAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		content := []byte("content")
		s := &source{content: content}
		f, dir := newFetcher(t, s)
		opens := 0
		f.Open = func(ctx context.Context, name string, offset int64) (fetch.Body, error) {
			if opens++; opens == 1 {
				return fetch.Body{ReadCloser: stuck{ctx}, Offset: offset}, nil
			}
			return s.open(ctx, name, offset)
		}
		if _, err := f.Fetch(t.Context(), file(content)); err != nil || names(t, dir) != "a.wav" {
			t.Errorf("Fetch = %v; want it to go on with a new transfer", err)
		}
	})
}
