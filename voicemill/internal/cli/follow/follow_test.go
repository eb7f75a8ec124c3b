package follow_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/voicemill/voicemill/api/jobdoc"
	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/voicemill/internal/cli/console"
	"github.com/voicemill/voicemill/voicemill/internal/cli/follow"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	errAway    = errors.New("nobody answers")
	errRefused = errors.New("no such job")
)

// step is one answer of a scripted server, after it was held for a while.
type step struct {
	held    time.Duration
	state   job.State
	version int64
	err     error
}

// run plays steps and returns what was shown; the last step repeats.
func run(ctx context.Context, con *console.Console, patience time.Duration, steps ...step) (jobdoc.Document, error) {
	cfg := follow.Config{
		Address: "http://mill", Patience: patience, Away: func(err error) bool { return errors.Is(err, errAway) },
		Poll: func(ctx context.Context) (jobdoc.Document, error) {
			s := steps[0]
			if len(steps) > 1 {
				steps = steps[1:]
			}
			select {
			case <-ctx.Done():
				return jobdoc.Document{}, ctx.Err()
			case <-time.After(s.held):
			}
			return jobdoc.Document{ID: "job_1", State: s.state, Version: s.version}, s.err
		},
	}
	return follow.Run(ctx, cfg, follow.NewView(con), nil)
}

func streams() (con *console.Console, out, errOut *bytes.Buffer) {
	out, errOut = &bytes.Buffer{}, &bytes.Buffer{}
	return &console.Console{Out: out, Err: errOut, Getenv: func(string) string { return "" }}, out, errOut
}

func states(out string) string {
	var all []string
	for line := range strings.Lines(out) {
		all = append(all, strings.Fields(line)[1])
	}
	return strings.Join(all, " ")
}

func TestAServerThatRestartsIsMentionedOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		con, out, errOut := streams()
		away := step{err: errAway}
		d, err := run(t.Context(), con, time.Minute,
			step{state: job.StateRunning, version: 1}, away, away, away, away,
			step{state: job.StateRunning, version: 2, held: 2 * time.Second}, step{state: job.StateSucceeded, version: 3})
		if err != nil || d.State != job.StateSucceeded {
			t.Fatalf("Run = %v, %v; want succeeded", d.State, err)
		}
		if got := states(out.String()); got != "running running succeeded" {
			t.Errorf("lines = %q", out.String())
		}
		want := "http://mill does not answer; trying again for 1m0s\nconnected again to http://mill\n"
		if errOut.String() != want {
			t.Errorf("notes = %q; want %q", errOut.String(), want)
		}
	})
}

func TestPatienceEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		con, _, _ := streams()
		begun := time.Now()
		d, err := run(t.Context(), con, time.Minute, step{state: job.StateRunning, version: 1}, step{err: errAway})
		if !errors.Is(err, follow.ErrLost) || !errors.Is(err, errAway) || d.State != job.StateRunning {
			t.Errorf("Run = %v, %v; want the last document and ErrLost", d.State, err)
		}
		if took := time.Since(begun); took < 45*time.Second || took > time.Minute+2*time.Second { // it was there for a second or so
			t.Errorf("gave up after %v; want nearly a minute", took)
		}
	})
}

func TestARefusalEndsAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		con, _, errOut := streams()
		if _, err := run(t.Context(), con, time.Minute, step{err: errRefused}); !errors.Is(err, errRefused) {
			t.Errorf("Run = %v; want the refusal", err)
		}
		if errOut.Len() > 0 {
			t.Errorf("notes = %q; want none", errOut.String())
		}
	})
}

func TestCtrlCEndsAHeldPoll(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		con, _, _ := streams()
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(3*time.Second, cancel)
		begun := time.Now()
		d, err := run(ctx, con, time.Minute, step{state: job.StateQueued, version: 1}, step{held: time.Hour})
		if !errors.Is(err, context.Canceled) || d.State != job.StateQueued {
			t.Errorf("Run = %v, %v; want the last document and Canceled", d.State, err)
		}
		if took := time.Since(begun); took != 3*time.Second {
			t.Errorf("ended after %v; want 3s", took)
		}
	})
}

func TestAPipeGetsOneLineASecondAndTheLast(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		con, out, _ := streams()
		steps := []step{}
		for i := range int64(40) { // ten seconds of a change every quarter
			steps = append(steps, step{held: 250 * time.Millisecond, state: job.StateRunning, version: i + 1})
		}
		steps = append(steps, step{held: 10 * time.Millisecond, state: job.StateSucceeded, version: 101})
		if _, err := run(t.Context(), con, time.Minute, steps...); err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(strings.TrimSpace(out.String()), "\n")
		if len(lines) < 8 || len(lines) > 12 {
			t.Errorf("%d lines for ten seconds; want about ten:\n%s", len(lines), out.String())
		}
		if !strings.Contains(lines[len(lines)-1], "succeeded") {
			t.Errorf("last line = %q; want the end", lines[len(lines)-1])
		}
	})
}

func TestAnUnchangedJobIsNotRepeated(t *testing.T) {
	t.Parallel()
	for name, asJSON := range map[string]bool{"lines": false, "documents": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				con, out, _ := streams()
				con.JSON = asJSON
				same := step{held: 30 * time.Second, state: job.StateRunning, version: 1}
				if _, err := run(t.Context(), con, time.Minute, same, same, same, step{state: job.StateFailed, version: 2}); err != nil {
					t.Fatal(err)
				}
				if got := strings.Count(out.String(), "\n"); got != 2 {
					t.Errorf("%d lines; want 2:\n%s", got, out.String())
				}
			})
		})
	}
}

type brokenPipe struct{}

func (brokenPipe) Write([]byte) (int, error) { return 0, errRefused }

func TestAReaderThatWentAwayEndsTheWatch(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		con, _, _ := streams()
		con.Out = brokenPipe{}
		if _, err := run(t.Context(), con, time.Minute, step{state: job.StateRunning, version: 1}, step{held: time.Hour}); !errors.Is(err, errRefused) {
			t.Errorf("Run = %v; want the error of writing", err)
		}
	})
}

func TestAServerThatDoesNotHoldIsNotAskedInATightLoop(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		grows int64
		limit int
	}{"without news": {0, 12}, "with news all the time": {1, 52}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				con, _, _ := streams()
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
				defer cancel()
				polls, version := 0, int64(1)
				_, err := follow.Run(ctx, follow.Config{
					Address: "http://mill", Patience: time.Minute, Away: func(error) bool { return false },
					Poll: func(context.Context) (jobdoc.Document, error) {
						polls++
						version += c.grows
						return jobdoc.Document{State: job.StateRunning, Version: version}, nil
					},
				}, follow.NewView(con), nil)
				if !errors.Is(err, context.DeadlineExceeded) || polls > c.limit {
					t.Errorf("Run = %v after %d polls in ten seconds; want at most %d", err, polls, c.limit)
				}
			})
		})
	}
}
