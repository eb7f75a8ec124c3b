package cli_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/voicemill/voicemill/api/jobdoc"
	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/voicemill/internal/cli"
)

func TestEveryFailureHasItsExitCode(t *testing.T) {
	t.Parallel()
	status := func(code int) func(*server) {
		return func(s *server) { s.fail = func(*http.Request) int { return code } }
	}
	ended := func(state job.State) func(*server) {
		return func(s *server) { s.job.State = state }
	}
	for name, c := range map[string]struct {
		args   []string
		server func(*server)
		code   int
		says   string // on standard error
	}{
		"done":                           {args: []string{"status", string(testID)}, code: cli.ExitDone},
		"an unknown command":             {args: []string{"fly"}, code: cli.ExitUsage, says: "voicemill --help"},
		"an unknown flag":                {args: []string{"watch", "--fast", "x"}, code: cli.ExitUsage, says: "voicemill watch --help"},
		"a missing argument":             {args: []string{"watch"}, code: cli.ExitUsage, says: "<id>"},
		"a file that is not there":       {args: []string{"submit", "no.epub"}, code: cli.ExitUsage, says: "there is no file no.epub"},
		"an extension that says nothing": {args: []string{"submit", "x.pdf"}, code: cli.ExitUsage, says: "--media-type"},
		"a media type that is none":      {args: []string{"submit", "-", "--media-type", "a/b"}, code: cli.ExitUsage, says: "a/b is none of"},
		"empty input":                    {args: []string{"submit", "-"}, code: cli.ExitUsage, says: "standard input is empty"},
		"events without a callback":      {args: []string{"submit", "-", "--callback-event", "job.failed"}, code: cli.ExitUsage, says: "needs --callback"},
		"an address that is none":        {args: []string{"list", "--url", "ftp://x"}, code: cli.ExitUsage, says: "http://host:port"},
		"a key file that is not there":   {args: []string{"list", "--key-file", "/none/key"}, code: cli.ExitUsage, says: "--key-file"},
		"a time that is none":            {args: []string{"list", "--after", "soon"}, code: cli.ExitUsage, says: "RFC 3339"},
		"a limit that is none":           {args: []string{"list", "--limit", "0"}, code: cli.ExitUsage, says: "--limit 0"},
		"the job failed":                 {args: []string{"watch", string(testID)}, server: ended(job.StateFailed), code: cli.ExitJobFailed},
		"the job was cancelled":          {args: []string{"watch", string(testID)}, server: ended(job.StateCancelled), code: cli.ExitJobFailed},
		"the job ended partial":          {args: []string{"watch", string(testID)}, server: ended(job.StatePartial), code: cli.ExitPartial},
		"the job succeeded":              {args: []string{"watch", string(testID)}, server: ended(job.StateSucceeded), code: cli.ExitDone},
		"no files of a failed job":       {args: []string{"get", string(testID)}, server: ended(job.StateFailed), code: cli.ExitJobFailed},
		"no files yet":                   {args: []string{"get", string(testID)}, code: cli.ExitPartial, says: "is running and has no files yet"},
		"a file that no job has":         {args: []string{"get", string(testID), "x.wav"}, server: ended(job.StateSucceeded), code: cli.ExitUsage, says: "has no files"},
		"no such job":                    {args: []string{"status", "job_x"}, code: cli.ExitRefused, says: "There is no such job"},
		"refused":                        {args: []string{"cancel", string(testID)}, server: status(403), code: cli.ExitRefused, says: "voicemill keys create"},
		"the server's own fault":         {args: []string{"list"}, server: status(500), code: cli.ExitUnexpected, says: "Request id: req-1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t)
			if c.server != nil {
				c.server(s)
			}
			got := runCommand(t, s.URL, "", c.args...)
			if got.code != c.code || !strings.Contains(got.errOut, c.says) {
				t.Errorf("%v = %d, %q; want %d and %q", c.args, got.code, got.errOut, c.code, c.says)
			}
		})
	}
}

func TestASpellOfOverloadIsWaitedOut(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	left := 1
	s.fail = func(*http.Request) int { // called one call after the other
		if left--; left >= 0 {
			return 503
		}
		return 0
	}
	if got := runCommand(t, s.URL, "", "status", string(testID)); got.code != cli.ExitDone {
		t.Errorf("status = %d, %q; want 0", got.code, got.errOut)
	}
	s.mu.Lock()
	s.fail = func(*http.Request) int { return 503 }
	s.mu.Unlock()
	if got := runCommand(t, s.URL, "", "status", string(testID)); got.code != cli.ExitUnreachable {
		t.Errorf("status of a server that stays overloaded = %d, %q; want %d", got.code, got.errOut, cli.ExitUnreachable)
	}
}

func TestAServerThatIsNotThereIsNamed(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.Close()
	got := runCommand(t, s.URL, "", "list")
	if got.code != cli.ExitUnreachable {
		t.Errorf("exit code = %d; want %d", got.code, cli.ExitUnreachable)
	}
	golden(t, "unreachable.txt", strings.ReplaceAll(got.errOut, s.URL, "URL"))
}

func TestABucketThatIsNotThereIsNamedWithoutItsSignature(t *testing.T) {
	t.Parallel()
	gone := newServer(t)
	gone.Close()
	for _, extra := range [][]string{nil, {"--json"}} {
		s := newServer(t)
		s.bucket = gone.URL
		got := runCommand(t, s.URL, "PK", append([]string{"submit", "-", "--media-type", job.MediaEPUB}, extra...)...)
		if got.code != cli.ExitUnreachable || !strings.Contains(got.errOut, "no server answers at "+gone.URL) || strings.Contains(got.errOut, "signed") {
			t.Errorf("submit %v = %d, %q; want the bucket's address alone", extra, got.code, got.errOut)
		}
	}
}

func TestProblemsAreSentences(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	got := runCommand(t, s.URL, "Hello.", "submit", "-", "--voice", "nobody", "--speed", "9")
	if got.code != cli.ExitRefused || got.out != "" {
		t.Errorf("submit = %d, %q; want %d and no output", got.code, got.out, cli.ExitRefused)
	}
	golden(t, "problem.txt", got.errOut)
	wrong := runWith(t.Context(), map[string]string{"VOICEMILL_URL": s.URL}, "", "list")
	golden(t, "unauthorized.txt", wrong.errOut)
}

func TestWithJSONAProblemIsJSONOnStandardError(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	got := runCommand(t, s.URL, "Hello.", "submit", "-", "--voice", "nobody", "--json")
	var d struct {
		Error struct {
			ExitCode int         `json:"exit_code"`
			Status   int         `json:"status"`
			Errors   []job.Fault `json:"errors"`
		} `json:"error"`
	}
	if err := json.Unmarshal([]byte(got.errOut), &d); err != nil {
		t.Fatalf("standard error is not JSON: %v: %s", err, got.errOut)
	}
	if d.Error.ExitCode != cli.ExitRefused || d.Error.Status != 422 || len(d.Error.Errors) != 2 {
		t.Errorf("error = %+v; want exit code 4, status 422, two faults", d.Error)
	}
	if got.out != "" {
		t.Errorf("standard output = %q; want nothing", got.out)
	}
}

func TestAnAddressThatIsTakenIsNotToldAsAServerThatIsAway(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	got := runCommand(t, s.URL, "", "up", "--data", t.TempDir(), "--admin", strings.TrimPrefix(s.URL, "http://"))
	if got.code != cli.ExitUnexpected || !strings.Contains(got.errOut, "address already in use") || strings.Contains(got.errOut, "no server answers") {
		t.Errorf("up = %d, %q; want 1 and what is in the way", got.code, got.errOut)
	}
}

func TestTextOfAServerCannotDriveTheTerminal(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.change(func(d *jobdoc.Document) { d.Title = "evil\x1b[2J\r\nbook\u202e" })
	got := runCommand(t, s.URL, "", "status", string(testID))
	if strings.ContainsAny(got.out, "\x1b\r\u202e") || !strings.Contains(got.out, "evil[2J book") {
		t.Errorf("status = %q; want the title without control characters", got.out)
	}
}

func TestHelpAndVersion(t *testing.T) {
	t.Parallel()
	if got := runCommand(t, "", "", "--version"); got.code != 0 || got.out != "voicemill 1.2.3\n" {
		t.Errorf("--version = %d, %q", got.code, got.out)
	}
	for _, args := range [][]string{nil, {"--help"}} {
		got := runCommand(t, "", "", args...)
		if got.code != 0 || !strings.Contains(got.out, "Exit codes:") || !strings.Contains(got.out, "submit") {
			t.Errorf("%v = %d, %q; want the commands and the exit codes", args, got.code, got.out)
		}
	}
	if got := runCommand(t, "", "", "submit", "--help"); got.code != 0 || strings.Contains(got.out, "Exit codes:") {
		t.Errorf("submit --help = %d, %q; want the command's own help", got.code, got.out)
	}
}
