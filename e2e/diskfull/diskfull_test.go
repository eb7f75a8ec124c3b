package diskfull_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/voicemill/voicemill/api/jobdoc"
	"github.com/voicemill/voicemill/e2e/internal/caller"
	"github.com/voicemill/voicemill/e2e/internal/stage"
	"github.com/voicemill/voicemill/job"
)

var bin string // the folder with the built commands

func TestMain(m *testing.M) { os.Exit(stage.Main(m, &bin)) }

const (
	diskMiB    = 480
	jobs       = 6
	chapters   = 2
	paragraphs = 26 // of a chapter: more than five mebibytes of sound, which is stored in parts
	roundLimit = 4 * time.Minute
	fillLimit  = time.Minute
	look       = 100 * time.Millisecond
)

// rounds is how often the disk is filled: VOICEMILL_DISKFULL_ROUNDS, or twice.
func rounds(t *testing.T) int {
	t.Helper()
	n, err := strconv.Atoi(os.Getenv("VOICEMILL_DISKFULL_ROUNDS"))
	if os.Getenv("VOICEMILL_DISKFULL_ROUNDS") == "" {
		return 2
	}
	require.NoError(t, err)
	return n
}

func TestNoJobSucceedsWithFilesThatTheDiskCut(t *testing.T) {
	var all tally
	t.Run("rounds", func(t *testing.T) {
		for n := range rounds(t) {
			t.Run(strconv.Itoa(n+1), func(t *testing.T) {
				t.Parallel()
				round(t, n, &all)
			})
		}
	})
	t.Log(&all)
	require.NotZero(t, all.succeeded, "no job has succeeded, so that nothing was shown")
	require.NotZero(t, all.full, "the disk was never full")
}

// tally counts what came of jobs on a disk that was full meanwhile.
type tally struct {
	mu                             sync.Mutex // guards the rest
	full, succeeded, others, files int
}

func (a *tally) add(full bool, succeeded, others, files int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if full {
		a.full++
	}
	a.succeeded += succeeded
	a.others += others
	a.files += files
}

func (a *tally) String() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return fmt.Sprintf("%d times full, %d jobs succeeded with %d files as their manifests say, %d ended otherwise", a.full, a.succeeded, a.files, a.others)
}

// round fills a new disk while jobs are rendered, makes room again, and holds
// the files of what has succeeded against their manifests.
func round(t *testing.T, n int, all *tally) {
	t.Helper()
	ctx, cancel := context.WithTimeoutCause(t.Context(), roundLimit, fmt.Errorf("the round's limit of %s is spent", roundLimit))
	defer cancel()
	d := newDisk(t, diskMiB)
	s := stage.NewSolo(t, bin, stage.SoloConfig{Data: d.path})
	c := caller.New(t, s)

	ids := make([]string, jobs)
	for i := range ids {
		doc, err := c.Submit(ctx, "", book(n, i))
		require.NoError(t, err)
		ids[i] = string(doc.ID)
	}
	left := 8<<20 + rand.Int64N(60<<20) //nolint:gosec // chance, not secrecy
	require.NoError(t, d.leave(left))
	full := fill(ctx, t, s)
	require.NoError(t, d.relieve())
	succeeded, files := 0, 0
	for _, id := range ids {
		doc, err := c.Await(ctx, id)
		require.NoError(t, err)
		if doc.State == job.StateSucceeded {
			succeeded++
			files += compare(ctx, t, c, doc)
		} else {
			t.Logf("job %s ended %s: %+v", id, doc.State, doc.Error)
		}
	}
	t.Logf("%d MiB were left: full %t, %d of %d jobs succeeded with %d files as their manifests say", left>>20, full, succeeded, jobs, files)
	all.add(full, succeeded, jobs-succeeded, files)
}

// fill waits until something has met a full disk, and a moment longer; false if
// there was room enough for all.
func fill(ctx context.Context, t *testing.T, s *stage.Solo) bool {
	t.Helper()
	tick := time.NewTicker(look)
	defer tick.Stop()
	end, full := time.Now().Add(fillLimit), false
	for time.Now().Before(end) {
		if !full && strings.Contains(strings.ToLower(s.Log()), unix.ENOSPC.Error()) {
			full, end = true, time.Now().Add(rand.N(4*time.Second)) //nolint:gosec // chance, not secrecy
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatal(context.Cause(ctx))
		}
	}
	return full
}

// compare returns how many files of a job are as its manifest says; one that is
// not fails the test.
func compare(ctx context.Context, t *testing.T, c *caller.Caller, doc jobdoc.Document) int {
	t.Helper()
	var m struct {
		Chapters []struct {
			Artifact string `json:"artifact"`
			SHA256   string `json:"sha256"`
			Bytes    int    `json:"bytes"`
		} `json:"chapters"`
	}
	raw, err := c.Artifact(ctx, string(doc.ID), "manifest.json")
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(raw, &m))
	require.Len(t, m.Chapters, chapters)
	good := 0
	for _, ch := range m.Chapters {
		data, err := c.Artifact(ctx, string(doc.ID), ch.Artifact)
		require.NoError(t, err)
		sum := sha256.Sum256(data)
		if len(data) != ch.Bytes || hex.EncodeToString(sum[:]) != ch.SHA256 {
			t.Errorf("job %s succeeded, but %s has %d bytes, its manifest says %d", doc.ID, ch.Artifact, len(data), ch.Bytes)
			continue
		}
		good++
	}
	return good
}

// book takes a while to speak; no two paragraphs are the same.
func book(round, n int) map[string]any {
	var b strings.Builder
	for c := range chapters {
		fmt.Fprintf(&b, "# Chapter %d\n\n", c+1)
		for p := range paragraphs {
			fmt.Fprintf(&b, "In round %d, book %d, chapter %d this is paragraph number %d. It was written to be spoken once, and it says so plainly. Nobody reads it twice.\n\n", round+1, n+1, c+1, p+1)
		}
	}
	return map[string]any{"input": map[string]any{"text": b.String(), "media_type": job.MediaMarkdown}, "language": "en"}
}
