package enginetest

import (
	"bufio"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/worker/internal/engine"
)

// Rate is what [Simulate] speaks at, in Hz: nobody listens.
const Rate = 2400

// Sim is a simulated engine, e2e/enginesim, that runs as a process.
type Sim struct {
	HTTP string // host:port of POST /v1/audio/speech
	GRPC string // host:port of KServe v2
}

// Simulator builds the simulated engine and returns the path of its program.
func Simulator(t *testing.T) (program string) {
	t.Helper()
	program = filepath.Join(t.TempDir(), "enginesim")
	args := []string{"build", "-o", program, "github.com/voicemill/voicemill/e2e/cmd/enginesim"}
	if race {
		args = slices.Insert(args, 1, "-race")
	}
	out, err := exec.CommandContext(t.Context(), "go", args...).CombinedOutput() //nolint:gosec // as written here
	require.NoError(t, err, string(out))
	return program
}

// Simulate runs program, of [Simulator], until the test ends or a fault ends it. It
// speaks at Rate and cuts no text that the suite has.
func Simulate(t *testing.T, program string, args ...string) Sim {
	t.Helper()
	c := exec.Command(program, append([]string{"-stdin", "-rate", "2400", "-max-tokens", "4000"}, args...)...) //nolint:noctx,gosec // the end of stdin ends it
	stdin, err := c.StdinPipe()
	require.NoError(t, err)
	stdout, err := c.StdoutPipe()
	require.NoError(t, err)
	c.Stderr = os.Stderr
	require.NoError(t, c.Start())
	t.Cleanup(func() {
		_ = stdin.Close()
		_ = c.Wait() // a crash is asked for
	})
	line, err := bufio.NewReader(stdout).ReadBytes('\n')
	require.NoError(t, err, "the simulation ended")
	var s Sim
	require.NoError(t, json.Unmarshal(line, &s))
	return s
}

// Failures tests how the engine that open returns names what a [Sim] does wrong, which
// is the same for every protocol. open is called once; the engine must give up after a
// second or so.
func Failures(t *testing.T, open func(t *testing.T) engine.Engine) {
	t.Helper()
	e := open(t)
	t.Cleanup(func() { require.NoError(t, e.Close()) })
	for fault, kind := range map[string]job.Kind{
		"hang": job.Engine, "error": job.Engine, "garbage": job.Engine, "cut": job.Engine, "count": job.Engine,
		"busy": job.Overloaded, "refuse": job.Invalid,
	} {
		r := speakOne(t, e, Request("This text is sim:"+fault+" and has an end."))
		require.Errorf(t, r.Err, "at %s", fault)
		require.Equalf(t, kind, job.KindOf(r.Err), "at %s: %v", fault, r.Err)
		require.NotEmptyf(t, r.Backend, "at %s", fault)
		require.Emptyf(t, r.Audio.Samples, "at %s", fault)
		if fault == "hang" {
			require.ErrorIs(t, r.Err, engine.ErrLost)
		}
	}
	for _, fault := range []string{"silence", "differ"} { // what it is worth is for others to say
		q := Request("This text is sim:" + fault + " and has an end.")
		Good(t, e, q, speakOne(t, e, q))
	}
	r := speakOne(t, e, Request("This text is a sim:crash of it all."))
	require.Equal(t, job.Engine, job.KindOf(r.Err), "%v", r.Err)
	require.ErrorIs(t, r.Err, engine.ErrLost)
	for { // it may take a moment until nobody listens any more
		r = speakOne(t, e, Request("Is anybody there?"))
		require.Error(t, r.Err)
		if job.KindOf(r.Err) == job.Unavailable {
			return
		}
		require.ErrorIs(t, r.Err, engine.ErrLost)
	}
}
