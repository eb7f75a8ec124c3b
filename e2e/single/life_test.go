package single_test

import (
	"context"
	"encoding/hex"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/api/jobdoc"
	"github.com/voicemill/voicemill/e2e/internal/caller"
	"github.com/voicemill/voicemill/e2e/internal/stage"
)

func TestADataDirectoryBelongsToOneProcess(t *testing.T) {
	t.Parallel()
	ctx := limited(t)
	s := stage.NewSolo(t, bin, stage.SoloConfig{})
	code, _, stderr, err := stage.Run(ctx, filepath.Join(bin, "voicemill"), []string{"PATH=" + os.Getenv("PATH")},
		"up", "--data", s.Data, "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--s3-listen", "127.0.0.1:0")
	require.NoError(t, err)
	require.NotZero(t, code)
	require.Contains(t, stderr, s.Data, "the message does not name the directory")
	require.Contains(t, stderr, "another process")
	requireSucceeded(t, perform(ctx, t, caller.New(t, s), "", line("The first process was not disturbed.")))
}

func TestTheFirstKeyIsPrivateAndWorksAfterARestart(t *testing.T) {
	t.Parallel()
	ctx := limited(t)
	s := stage.NewSolo(t, bin, stage.SoloConfig{})
	first := s.Took()
	info, err := os.Stat(s.KeyFile())
	require.NoError(t, err)
	require.Equal(t, fs.FileMode(0o600), info.Mode().Perm())
	for range 2 {
		key := s.Key()
		answer, err := caller.New(t, s).Insist(ctx, http.MethodGet, "/v1/jobs", nil)
		require.NoError(t, err)
		require.Equal(t, http.StatusOK, answer.Status, "%s", answer.Body)
		answer, err = caller.New(t, s).Do(ctx, http.MethodGet, "/v1/jobs", nil, "Authorization", "Bearer "+key+"x")
		require.NoError(t, err)
		require.Equal(t, http.StatusUnauthorized, answer.Status)
		code, err := s.Stop(syscall.SIGTERM)
		require.NoError(t, err)
		require.Zero(t, code)
		require.NoError(t, s.Start(ctx))
		require.Equal(t, key, s.Key())
	}
	t.Logf("first start took %s, third %s", first, s.Took())
}

func TestEverythingListensOnLoopbackOnly(t *testing.T) {
	t.Parallel()
	s := stage.NewSolo(t, bin, stage.SoloConfig{})
	family := descendants(t, s.PID())
	require.Greater(t, len(family), 1, "there is no child")
	var found []string
	for _, pid := range family {
		found = append(found, listeners(t, pid)...)
	}
	require.GreaterOrEqual(t, len(found), 3, "the API, the admin port and S3 listen: %v", found)
	for _, addr := range found {
		host, _, err := net.SplitHostPort(addr)
		require.NoError(t, err)
		require.True(t, net.ParseIP(host).IsLoopback(), "something listens on %s", addr)
	}
}

// descendants returns pid and the processes below it.
func descendants(t *testing.T, pid int) []int {
	t.Helper()
	all := []int{pid}
	for i := 0; i < len(all); i++ {
		tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", all[i]))
		require.NoError(t, err)
		for _, path := range tasks {
			b, _ := os.ReadFile(path) // a thread may have ended
			for field := range strings.FieldsSeq(string(b)) {
				child, err := strconv.Atoi(field)
				require.NoError(t, err)
				all = append(all, child)
			}
		}
	}
	return all
}

// childOf returns the first process below pid whose command line has word in it.
func childOf(t *testing.T, pid int, word string) int {
	t.Helper()
	for _, child := range descendants(t, pid)[1:] {
		if line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", child)); err == nil && strings.Contains(string(line), word) {
			return child
		}
	}
	require.Failf(t, "no such process", "%d has no %s below it", pid, word)
	return 0
}

// listeners returns the TCP addresses on which a process listens.
func listeners(t *testing.T, pid int) []string {
	t.Helper()
	held := map[string]bool{}
	fds, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	require.NoError(t, err)
	for _, fd := range fds {
		if to, err := os.Readlink(fd); err == nil {
			held[to] = true
		}
	}
	var all []string
	for _, table := range []string{"tcp", "tcp6"} {
		b, err := os.ReadFile("/proc/self/net/" + table)
		require.NoError(t, err)
		for row := range strings.Lines(string(b)) {
			f := strings.Fields(row)
			const listening = "0A"
			if len(f) < 10 || f[3] != listening || !held["socket:["+f[9]+"]"] {
				continue
			}
			all = append(all, address(t, f[1]))
		}
	}
	return all
}

// address reads an address of /proc/net/tcp: words of four bytes, each in the
// machine's order, which is little-endian wherever we run.
func address(t *testing.T, s string) string {
	t.Helper()
	host, port, _ := strings.Cut(s, ":")
	ip, err := hex.DecodeString(host)
	require.NoError(t, err)
	for i := 0; i+3 < len(ip); i += 4 {
		ip[i], ip[i+1], ip[i+2], ip[i+3] = ip[i+3], ip[i+2], ip[i+1], ip[i]
	}
	number, err := strconv.ParseUint(port, 16, 16)
	require.NoError(t, err)
	return net.JoinHostPort(net.IP(ip).String(), strconv.FormatUint(number, 10))
}

func TestHoweverTheProcessEndsNothingIsLostOrDoubled(t *testing.T) {
	t.Parallel()
	ctx := limited(t)
	calm := stage.NewSolo(t, bin, stage.SoloConfig{})
	undisturbed := perform(ctx, t, caller.New(t, calm), "book", longBook())
	requireSucceeded(t, undisturbed)
	want := files(ctx, t, caller.New(t, calm), undisturbed)
	require.Len(t, want, bookChapters+1)
	_, err := calm.Stop(syscall.SIGTERM)
	require.NoError(t, err)

	for name, end := range map[string]func(*testing.T, *stage.Solo){
		"kill -9": func(_ *testing.T, s *stage.Solo) { s.Kill() },
		"a polite stop": func(t *testing.T, s *stage.Solo) {
			t.Helper()
			sig := []syscall.Signal{syscall.SIGTERM, syscall.SIGINT}[rand.IntN(2)] //nolint:gosec // not for secrets
			code, err := s.Stop(sig)
			require.NoError(t, err)
			require.Zero(t, code, "exit code after %s", sig)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx := limited(t)
			s := stage.NewSolo(t, bin, stage.SoloConfig{})
			doc := interrupted(ctx, t, s, func() { end(t, s) })
			requireSucceeded(t, doc)
			require.Equal(t, want, files(ctx, t, caller.New(t, s), doc), "the files differ from the undisturbed run's")

			got := rows(ctx, t, open(ctx, t, s))
			segments := doc.Progress.Segments.Total
			require.Equal(t, map[string]int{
				"jobs": 1, "chapters": bookChapters, "segments": segments, "renditions": segments, "artifacts": bookChapters + 1,
				"outbox": 0, "deliveries": 0, "cancellations": 0, "idempotency_keys": 1,
			}, got)
		})
	}
}

// interrupted performs the long book while the process is ended three times:
// right after the job was accepted, and twice in the middle.
func interrupted(ctx context.Context, t *testing.T, s *stage.Solo, end func()) jobdoc.Document {
	t.Helper()
	c := caller.New(t, s) //nolint:contextcheck // it takes the context of the test
	doc, err := c.Submit(ctx, "book", longBook())
	require.NoError(t, err)
	early, late := 0.05+0.3*rand.Float64(), 0.4+0.3*rand.Float64() //nolint:gosec // not for secrets
	for _, fraction := range []float64{0, early, late} {
		if fraction == 0 {
			pause(ctx, time.Duration(rand.IntN(300))*time.Millisecond) //nolint:gosec // as above
		}
		now, err := c.Until(ctx, string(doc.ID), func(d jobdoc.Document) bool {
			n := d.Progress.Segments
			return d.State.Final() || fraction == 0 || n.Total > 0 && float64(n.Done) >= fraction*float64(n.Total)
		})
		require.NoError(t, err)
		require.False(t, now.State.Final(), "the job was over before it was disturbed; the book must be longer")
		t.Logf("ended while %s with %d of %d segments done", now.State, now.Progress.Segments.Done, now.Progress.Segments.Total)
		end()
		require.NoError(t, s.Start(ctx))
	}
	doc, err = c.Await(ctx, string(doc.ID))
	require.NoError(t, err)
	return doc
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

func TestAPostgresThatOutlivesItsParentIsWaitedFor(t *testing.T) {
	t.Parallel()
	ctx := limited(t)
	s := stage.NewSolo(t, bin, stage.SoloConfig{})
	c := caller.New(t, s)
	before := perform(ctx, t, c, "", line("This was spoken before."))
	requireSucceeded(t, before)
	// The postmaster ends after its checkpointer. It cannot be stopped itself:
	// the kernel wakes the members of a process group that is orphaned.
	checkpointer := childOf(t, s.PID(), "checkpointer")
	require.NoError(t, syscall.Kill(checkpointer, syscall.SIGSTOP))
	t.Cleanup(func() { _ = syscall.Kill(checkpointer, syscall.SIGCONT) }) // if the test fails half-way
	s.Kill()

	started := make(chan error, 1)
	go func() { started <- s.Start(ctx) }()
	for !strings.Contains(s.Log(), "a former database server is still stopping") {
		select {
		case err := <-started:
			require.NoError(t, err)
			require.Fail(t, "it started although the former Postgres still runs")
		case <-time.After(10 * time.Millisecond):
		}
	}
	require.NoError(t, syscall.Kill(checkpointer, syscall.SIGCONT))
	require.NoError(t, <-started)
	after, err := c.Job(ctx, string(before.ID))
	require.NoError(t, err)
	require.Equal(t, before, after)
	requireSucceeded(t, perform(ctx, t, c, "", line("This was spoken after.")))
}

func TestDoctorNamesTheCommandForAProgramThatIsMissing(t *testing.T) {
	t.Parallel()
	code, stdout, _, err := stage.Run(limited(t), filepath.Join(bin, "voicemill"), []string{"PATH=" + t.TempDir()}, "doctor", "--data", t.TempDir())
	require.NoError(t, err)
	require.Equal(t, 1, code, stdout)
	require.Contains(t, stdout, "apt-get install espeak-ng")
	require.Contains(t, stdout, "apt-get install ffmpeg")
}

func TestUpWithoutPostgresNamesTheCommandThatInstallsIt(t *testing.T) {
	t.Parallel()
	// The distribution's folders are looked into whatever PATH says, so they
	// are hidden, for this one process.
	hide := `for d in /usr/lib/postgresql /opt/homebrew; do [ ! -d $d ] || mount -t tmpfs none $d || exit 99; done; PATH=$1 exec "$2" up --data "$3" --listen 127.0.0.1:0 --admin 127.0.0.1:0 --s3-listen 127.0.0.1:0`
	data := filepath.Join(stage.Dir(t), "data")
	code, _, stderr, err := stage.Run(limited(t), "unshare", []string{"PATH=" + os.Getenv("PATH")},
		"--map-root-user", "--mount", "sh", "-c", hide, "sh", t.TempDir(), filepath.Join(bin, "voicemill"), data)
	require.NoError(t, err)
	require.Equal(t, 1, code, stderr)
	require.Contains(t, stderr, "PostgreSQL is not installed; install it with: apt-get install postgresql")
	_, err = os.Stat(filepath.Join(data, "postgres"))
	require.ErrorIs(t, err, fs.ErrNotExist, "it wrote something before it looked")
}
