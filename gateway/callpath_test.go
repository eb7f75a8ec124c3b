package gateway_test

import (
	"context"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/api/client/frames"
	"github.com/voicemill/voicemill/job"
)

// mostFunctions is how many functions of ours may lie between a parsed request and
// the intake, both among them.
const mostFunctions = 12

// TestTheCallPathOfASubmit takes the stack of a real submit that waits in the intake,
// over HTTP and over frames, with the stack on which its goroutine was started. The
// runtime keeps that only if it is told so at the start, so the test runs itself.
func TestTheCallPathOfASubmit(t *testing.T) {
	t.Parallel()
	const ancestors = "tracebackancestors=8"
	if !strings.Contains(os.Getenv("GODEBUG"), ancestors) {
		self, err := os.Executable()
		require.NoError(t, err)
		cmd := exec.CommandContext(t.Context(), self, "-test.run=^TestTheCallPathOfASubmit$", "-test.count=1")
		cmd.Env = append(os.Environ(), "GODEBUG="+ancestors)
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s", out)
		return
	}
	w := newWorld(t, nil)
	spec := &job.Spec{Input: job.Input{Text: "Hello."}}
	overHTTP := pathToIntake(t, "web.(*Server).ServeEdge", func(ctx context.Context) { _, _ = w.try(ctx, "POST", "/v1/jobs", hello) })
	c := w.frames(w.key)
	overFrames := pathToIntake(t, "session.(*session).handle", func(ctx context.Context) { _, _ = c.Submit(ctx, spec, frames.SubmitOptions{}) })

	require.LessOrEqual(t, len(overHTTP), mostFunctions, "%q", overHTTP)
	require.Equal(t, documented(t, "HTTP"), overHTTP)
	require.Equal(t, documented(t, "frames"), overFrames)
	require.Equal(t, without(overHTTP, "web."), without(overFrames, "session."), "carriers differ in decode and encode alone")
}

// pathToIntake submits until a stack shows a job that waits in the intake, and returns
// the functions of ours from first on.
func pathToIntake(t *testing.T, first string, submit func(ctx context.Context)) []string {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	var clients sync.WaitGroup
	for range 4 {
		clients.Go(func() {
			for ctx.Err() == nil {
				submit(ctx)
			}
		})
	}
	defer clients.Wait()
	defer stop()
	for buf := make([]byte, 8<<20); t.Context().Err() == nil; {
		for stack := range strings.SplitSeq(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
			path := ours(stack)
			from, to := slices.Index(path, first), slices.Index(path, "intake.(*Committer).Submit")
			if from >= 0 && to > from {
				return path[from : to+1]
			}
		}
	}
	t.Fatal("no job was seen to wait in the intake")
	return nil
}

var frame0 = regexp.MustCompile(`(?m)^github\.com/voicemill/voicemill/gateway/internal/(\S+)\(`)

// ours returns the functions of the gateway in a stack, the outermost first.
func ours(stack string) (path []string) {
	for _, m := range frame0.FindAllStringSubmatch(stack, -1) {
		path = append(path, m[1])
	}
	slices.Reverse(path)
	return path
}

// documented returns the list that docs/gateway.md has of a carrier's call path.
func documented(t *testing.T, carrier string) (path []string) {
	t.Helper()
	doc, err := os.ReadFile("../docs/gateway.md")
	require.NoError(t, err)
	_, section, found := strings.Cut(string(doc), "\n## The way of a submit\n")
	require.True(t, found)
	section, _, _ = strings.Cut(section, "\n## ")
	for line := range strings.Lines(section) {
		cells := strings.Split(line, "|")
		if len(cells) < 3 {
			continue
		}
		column := map[string]int{"HTTP": 1, "frames": 2}[carrier]
		if name := strings.Trim(cells[column], " `"); strings.Contains(name, ".") {
			path = append(path, name)
		}
	}
	return path
}

// without leaves out the functions of a package.
func without(path []string, prefix string) []string {
	return slices.DeleteFunc(slices.Clone(path), func(name string) bool { return strings.HasPrefix(name, prefix) })
}
