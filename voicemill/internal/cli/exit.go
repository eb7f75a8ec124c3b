package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/voicemill/internal/cli/console"
	"github.com/voicemill/voicemill/voicemill/internal/cli/wire"
	"github.com/voicemill/voicemill/voicemill/internal/progress"
)

// The exit codes of the command.
const (
	ExitDone        = 0
	ExitUnexpected  = 1
	ExitUsage       = 2
	ExitJobFailed   = 3 // the job ended failed or cancelled
	ExitRefused     = 4 // the server answered 4xx
	ExitUnreachable = 5 // no server, or one that is overloaded, after retries
	ExitPartial     = 6 // the job ended partial, or some files are missing yet
	ExitInterrupted = 130
)

// Failure is an error with an exit code of its own. A nil Err has been told
// already, so that only the code is left to say.
type Failure struct {
	Code int
	Err  error
}

// Error returns the text of the cause.
func (f *Failure) Error() string {
	if f.Err == nil {
		return fmt.Sprintf("exit code %d", f.Code)
	}
	return f.Err.Error()
}

// Unwrap returns the cause, or nil.
func (f *Failure) Unwrap() error { return f.Err }

// ExitCode returns the code.
func (f *Failure) ExitCode() int { return f.Code }

func usagef(format string, args ...any) error {
	return &Failure{Code: ExitUsage, Err: fmt.Errorf(format, args...)}
}

// endedAs returns what the end of a job means for the exit code; nil is success.
func endedAs(state job.State) error {
	switch state {
	case job.StateFailed, job.StateCancelled:
		return &Failure{Code: ExitJobFailed}
	case job.StatePartial:
		return &Failure{Code: ExitPartial}
	default:
		return nil
	}
}

// exitCode maps any error of a command to its exit code.
func exitCode(err error) int {
	var own interface{ ExitCode() int }
	var problem *wire.Problem
	switch {
	case err == nil:
		return ExitDone
	case errors.As(err, &own):
		return own.ExitCode()
	case errors.Is(err, context.Canceled):
		return ExitInterrupted
	case errors.As(err, &problem) && !overloaded(problem):
		if problem.Status >= 400 && problem.Status < 500 {
			return ExitRefused
		}
		return ExitUnexpected
	case away(err):
		return ExitUnreachable
	}
	return ExitUnexpected
}

// report tells err on con: as sentences for a person, as one line of JSON for
// a program.
func report(con *console.Console, err error, address string) {
	var told *Failure
	if err == nil || errors.As(err, &told) && told.Err == nil {
		return
	}
	code := exitCode(err)
	if con.JSON {
		writeErrorDocument(con, err, code)
		return
	}
	_, _ = fmt.Fprint(con.Err, explain(err, address))
}

// explain says err in sentences, each on its own line.
func explain(err error, address string) string {
	var b strings.Builder
	var problem *wire.Problem
	switch {
	case errors.As(err, &problem):
		explainProblem(&b, problem)
	case exitCode(err) == ExitInterrupted:
		b.WriteString("interrupted\n")
	case away(err):
		fmt.Fprintf(&b, "voicemill: no server answers at %s (%s).\n", address, reason(err))
		b.WriteString("Start one with `voicemill up`, or name another with --url or VOICEMILL_URL.\n")
	default:
		fmt.Fprintf(&b, "voicemill: %s\n", progress.Clean(err.Error()))
	}
	return b.String()
}

// hints say what to do about a status that has one usual cause.
var hints = map[int]string{
	401: "Set VOICEMILL_KEY or use --key-file; `voicemill up` prints the first key and keeps it in first-key in its data directory.",
	403: "Use a key with the scope that this needs; `voicemill keys create --scope …` makes one.",
	429: "Try again later.",
	503: "Try again later.",
}

func explainProblem(b *strings.Builder, p *wire.Problem) {
	title, detail := progress.Clean(p.Title), progress.Clean(p.Detail)
	if title == "" {
		title = fmt.Sprintf("the server answered %d", p.Status)
	}
	fmt.Fprintf(b, "voicemill: %s", strings.TrimRight(title, "."))
	if detail != "" && !strings.EqualFold(strings.TrimRight(detail, "."), strings.TrimRight(title, ".")) {
		fmt.Fprintf(b, ": %s", strings.TrimRight(detail, "."))
	}
	b.WriteString(".\n")
	for _, f := range p.Errors {
		where := progress.Clean(f.Pointer)
		if where == "" {
			where = "the request"
		}
		fmt.Fprintf(b, "  %s: %s\n", where, progress.Clean(f.Detail))
	}
	if hint, ok := hints[p.Status]; ok {
		b.WriteString(hint + "\n")
	}
	if p.RequestID != "" {
		fmt.Fprintf(b, "Request id: %s\n", progress.Clean(p.RequestID))
	}
}

// errorDocument is what --json says on standard error when a command fails.
type errorDocument struct {
	Error struct {
		ExitCode  int         `json:"exit_code"`
		Title     string      `json:"title"`
		Detail    string      `json:"detail,omitempty"`
		Status    int         `json:"status,omitempty"`
		Type      string      `json:"type,omitempty"`
		RequestID string      `json:"request_id,omitempty"`
		Errors    []job.Fault `json:"errors,omitempty"`
	} `json:"error"`
}

func writeErrorDocument(con *console.Console, err error, code int) {
	var d errorDocument
	d.Error.ExitCode, d.Error.Title = code, err.Error()
	if p, ok := errors.AsType[*wire.Problem](err); ok {
		d.Error.Title, d.Error.Detail, d.Error.Status, d.Error.Type = p.Title, p.Detail, p.Status, p.Type
		d.Error.RequestID, d.Error.Errors = p.RequestID, p.Errors
	}
	_ = json.NewEncoder(con.Err).Encode(d)
}
