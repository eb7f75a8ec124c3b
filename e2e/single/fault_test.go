package single_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/api/jobdoc"
	"github.com/voicemill/voicemill/e2e/internal/caller"
	"github.com/voicemill/voicemill/e2e/internal/stage"
	"github.com/voicemill/voicemill/job"
)

func TestAJobOutlivesItsEngine(t *testing.T) {
	t.Parallel()
	ctx := limited(t)
	s := stage.NewSolo(t, bin, stage.SoloConfig{})
	c := caller.New(t, s)
	doc, err := c.Submit(ctx, "", longBook())
	require.NoError(t, err)
	for kill := range 3 {
		_, err := c.Until(ctx, string(doc.ID), func(d jobdoc.Document) bool { return d.State.Final() || d.Progress.Segments.Done > 40*kill })
		require.NoError(t, err)
		killed := 0
		for _, pid := range descendants(t, s.PID())[1:] {
			if line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid)); err == nil && strings.Contains(string(line), "voicemill-espeak") {
				if syscall.Kill(pid, syscall.SIGKILL) == nil {
					killed++
				}
			}
		}
		t.Logf("killed %d engines", killed)
		require.True(t, kill > 0 || killed > 0, "no engine runs")
	}
	doc, err = c.Await(ctx, string(doc.ID))
	require.NoError(t, err)
	requireSucceeded(t, doc)
	require.Equal(t, doc.Progress.Segments.Total, doc.Progress.Segments.Done)
}

// smallDisk returns a data directory on a file system of its own, and a command
// that runs another where that is mounted. Root mounts it here; anybody else
// within a name space of the command's own.
type smallDisk struct {
	dir  string
	wrap []string
}

const diskBytes = 400 << 20 // what a new database and its log take, and as much again

func newSmallDisk(t *testing.T) smallDisk {
	t.Helper()
	d := smallDisk{dir: filepath.Join(stage.Dir(t), "disk")}
	require.NoError(t, os.Mkdir(d.dir, 0o755)) //nolint:gosec // Postgres runs as another user
	if os.Geteuid() == 0 {
		require.NoError(t, syscall.Mount("tmpfs", d.dir, "tmpfs", 0, fmt.Sprintf("size=%d,mode=0755", diskBytes)))
		t.Cleanup(func() { require.NoError(t, syscall.Unmount(d.dir, syscall.MNT_DETACH)) })
		return d
	}
	script := `mount -t tmpfs -o size=$1,mode=0755 tmpfs "$2" && id=$3 && shift 3 && exec unshare --user --map-user="$id" --map-group="$id" "$@"`
	d.wrap = []string{
		"unshare", "--map-root-user", "--mount", "sh", "-c", script, "sh",
		fmt.Sprint(diskBytes), d.dir, fmt.Sprint(os.Geteuid()),
	}
	return d
}

// path returns where this process finds the disk of s.
func (d smallDisk) path(s *stage.Solo) string {
	if d.wrap == nil {
		return d.dir
	}
	return fmt.Sprintf("/proc/%d/root%s", s.PID(), d.dir)
}

// filler is a file that leaves no room on a disk.
type filler struct{ name string }

// fill leaves no room on the disk.
func (d smallDisk) fill(t *testing.T, s *stage.Solo) filler {
	t.Helper()
	f := filler{filepath.Join(d.path(s), "filler")}
	f.topUp(t)
	return f
}

// topUp takes what was given back meanwhile: a file that was half written, say.
func (f filler) topUp(t *testing.T) {
	t.Helper()
	file, err := os.OpenFile(f.name, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	require.NoError(t, err)
	block := make([]byte, 4<<10)
	for err == nil {
		_, err = file.Write(block)
	}
	require.ErrorIs(t, err, syscall.ENOSPC)
	require.NoError(t, file.Close())
}

func (f filler) free(t *testing.T) {
	t.Helper()
	require.NoError(t, os.Remove(f.name))
}

func TestAFullDiskRefusesAndWaitsButLosesNothing(t *testing.T) {
	t.Parallel()
	ctx := limited(t)
	disk := newSmallDisk(t)
	s := stage.NewSolo(t, bin, stage.SoloConfig{
		Data: filepath.Join(disk.dir, "data"), Wrap: disk.wrap, Args: []string{"--publish-timeout=5s"},
	})
	c := caller.New(t, s)
	requireSucceeded(t, perform(ctx, t, c, "", line("There is room yet.")))
	doc, err := c.Submit(ctx, "", longBook())
	require.NoError(t, err)
	_, err = c.Until(ctx, string(doc.ID), func(d jobdoc.Document) bool { return d.Progress.Segments.Done > 10 })
	require.NoError(t, err)

	full := disk.fill(t, s)
	accepted := []string{string(doc.ID)}
	refused := 0
	for i := 0; refused < 3; i++ {
		require.NoError(t, context.Cause(ctx))
		// Much to keep and little to say: what is accepted must fit on the disk as audio in the end.
		spec := line(fmt.Sprintf("Is there room for number %d?%s", i, strings.Repeat(" ", 120_000)))
		body, err := json.Marshal(spec)
		require.NoError(t, err)
		answer, err := c.Do(ctx, http.MethodPost, "/v1/jobs", body, "Idempotency-Key", fmt.Sprintf("room-%d", i))
		require.NoError(t, err)
		if answer.Status == http.StatusAccepted {
			var doc jobdoc.Document
			require.NoError(t, json.Unmarshal(answer.Body, &doc))
			accepted = append(accepted, string(doc.ID))
			continue
		}
		requireLater(t, answer)
		refused++
	}
	t.Logf("accepted %d jobs on the full disk, then refused", len(accepted)-1)
	requireReadiness(ctx, t, s, "gateway/intake", false, full.topUp)
	full.free(t)
	requireReadiness(ctx, t, s, "gateway/intake", true, nil)
	for _, id := range accepted {
		doc, err := c.Await(ctx, id)
		require.NoError(t, err)
		requireSucceeded(t, doc)
	}
	requireSucceeded(t, perform(ctx, t, c, "", line("There is room again.")))
}

// reply is what was heard last, for a message that is made before.
type reply string

func (r *reply) String() string { return string(*r) }

// requireReadiness waits until the admin port says whether everything, and the
// check named, passes; before each look it calls before.
func requireReadiness(ctx context.Context, t *testing.T, s *stage.Solo, check string, want bool, before func(*testing.T)) {
	t.Helper()
	now := reply("nothing")
	require.Eventually(t, func() bool {
		if before != nil {
			before(t)
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.Admin()+"/readyz", http.NoBody)
		require.NoError(t, err)
		resp, err := http.DefaultClient.Do(req)
		require.NoError(t, err)
		defer func() { _ = resp.Body.Close() }()
		var body struct{ Checks map[string]string }
		require.NoError(t, json.NewDecoder(resp.Body).Decode(&body))
		now = reply(fmt.Sprintf("%d %v", resp.StatusCode, body.Checks))
		return (resp.StatusCode == http.StatusOK) == want && (body.Checks[check] == "ok") == want
	}, time.Minute, 100*time.Millisecond, "readiness is wanted: %t; last was %s", want, &now)
}

// requireLater checks an answer that asks to come back.
func requireLater(t *testing.T, a caller.Answer) {
	t.Helper()
	require.Equal(t, http.StatusServiceUnavailable, a.Status, "%s", a.Body)
	require.NotEmpty(t, a.Header.Get("Retry-After"))
	_, err := a.Problem()
	require.NoError(t, err)
}

// stageServer is a stage as a [caller.Server].
type stageServer struct{ *stage.Stage }

func (s stageServer) URL() string { return s.Stage.URL }
func (s stageServer) Key() string { return s.Stage.Key }

func TestWhatIsAwayIsAnsweredWith503AndJobsGoOnWhenItIsBack(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ program, path, body string }{
		"the bucket":   {stage.S3, "/v1/uploads", `{"media_type":"text/plain"}`},
		"the database": {stage.Database, "/v1/jobs", `{"input":{"text":"Not now."},"language":"en"}`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx := limited(t)
			s := stage.New(t, bin)
			call := caller.New(t, stageServer{s})
			upload, err := call.Upload(ctx, job.MediaText, []byte("An upload that is used later."))
			require.NoError(t, err)
			doc, err := call.Submit(ctx, "", longBook())
			require.NoError(t, err)
			_, err = call.Until(ctx, string(doc.ID), func(d jobdoc.Document) bool { return d.Progress.Segments.Done > 10 })
			require.NoError(t, err)

			s.Away(c.program)
			for _, request := range [][2]string{{c.path, c.body}, {"/v1/jobs", `{"input":{"upload":"` + upload + `"}}`}} {
				requireEventuallyLater(ctx, t, call, request[0], request[1])
			}
			require.NoError(t, s.Back(ctx, c.program))
			doc, err = call.Await(ctx, string(doc.ID))
			require.NoError(t, err)
			requireSucceeded(t, doc)
			after := perform(ctx, t, call, "", map[string]any{"input": map[string]any{"upload": upload}, "language": "en"})
			requireSucceeded(t, after)
			require.Equal(t, 1, after.Progress.Segments.Total)
		})
	}
}

// requireEventuallyLater sends a request until it is refused, for what is away
// may be noticed a moment later only. What is accepted until then must be kept.
func requireEventuallyLater(ctx context.Context, t *testing.T, c *caller.Caller, path, body string) {
	t.Helper()
	for {
		answer, err := c.Do(ctx, http.MethodPost, path, []byte(body))
		require.NoError(t, err)
		if answer.Status != http.StatusAccepted && answer.Status != http.StatusCreated {
			requireLater(t, answer)
			return
		}
		select {
		case <-ctx.Done():
			require.NoError(t, context.Cause(ctx))
		case <-time.After(100 * time.Millisecond):
		}
	}
}
