package cli_test

import (
	"bytes"
	"context"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/voicemill/voicemill/platform/testkit"
	"github.com/voicemill/voicemill/scheduler"
	"github.com/voicemill/voicemill/voicemill/internal/cli"
	"github.com/voicemill/voicemill/voicemill/internal/cli/console"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func TestMain(m *testing.M) {
	if code, child := scheduler.ServeChild(os.Args, os.Stdin, os.Stdout); child {
		os.Exit(code)
	}
	testkit.Main(m,
		// Idle connections of a client that the process would end with.
		goleak.IgnoreTopFunction("internal/poll.runtime_pollWait"),
		goleak.IgnoreTopFunction("net/http.(*persistConn).writeLoop"),
		goleak.IgnoreTopFunction("net/http.(*persistConn).readLoop"),
		// The pool that gnet's library starts with the process.
		goleak.IgnoreAnyFunction("github.com/panjf2000/ants/v2.(*poolCommon).ticktock"),
		goleak.IgnoreAnyFunction("github.com/panjf2000/ants/v2.(*poolCommon).purgeStaleWorkers"))
}

// result is what one run of the command did.
type result struct {
	code        int
	out, errOut string
}

// runCommand runs the command with an environment that names url and the test's key.
func runCommand(t *testing.T, url, stdin string, args ...string) result {
	t.Helper()
	return runWith(t.Context(), map[string]string{"VOICEMILL_URL": url, "VOICEMILL_KEY": testKey}, stdin, args...)
}

func runWith(ctx context.Context, env map[string]string, stdin string, args ...string) result {
	var out, errOut bytes.Buffer
	code := cli.Run(ctx, args, &console.Console{
		In: strings.NewReader(stdin), Out: &out, Err: &errOut, Version: "1.2.3",
		Getenv: func(name string) string { return env[name] },
	})
	return result{code: code, out: out.String(), errOut: errOut.String()}
}

// golden compares got with the file testdata/name.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", name, diff)
	}
}

func write(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
