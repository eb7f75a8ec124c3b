package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/voicemill/voicemill/api/client"
	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/voicemill/internal/cli/console"
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
	ExitFaults      = 7 // fsck has found faults and left them
	ExitChanged     = 8 // verify has found something that is not as it was signed
	ExitInterrupted = 130
)

// ExitError is an error with an exit code of its own. A nil Err has been told
// already, so that only the code is left to say.
type ExitError struct {
	Code int
	Err  error
}

// Error returns the text of the cause.
func (f *ExitError) Error() string {
	if f.Err == nil {
		return fmt.Sprintf("exit code %d", f.Code)
	}
	return f.Err.Error()
}

// Unwrap returns the cause, or nil.
func (f *ExitError) Unwrap() error { return f.Err }

// ExitCode returns the code.
func (f *ExitError) ExitCode() int { return f.Code }

func usagef(format string, args ...any) error {
	return &ExitError{Code: ExitUsage, Err: fmt.Errorf(format, args...)}
}

// endedAs returns what the end of a job means for the exit code; nil is success.
func endedAs(state job.State) error {
	switch state {
	case job.StateFailed, job.StateCancelled:
		return &ExitError{Code: ExitJobFailed}
	case job.StatePartial:
		return &ExitError{Code: ExitPartial}
	default:
		return nil
	}
}

// exitCode maps any error of a command to its exit code.
func exitCode(err error) int {
	var own interface{ ExitCode() int }
	var problem *client.Problem
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
	var told *ExitError
	if err == nil || errors.As(err, &told) && told.Err == nil {
		return
	}
	if con.JSON {
		writeErrorDocument(con, err, address)
		return
	}
	_, _ = fmt.Fprint(con.Err, explain(err, address))
}

// explain says err in sentences, each on its own line.
func explain(err error, address string) string {
	var b strings.Builder
	var problem *client.Problem
	switch {
	case errors.As(err, &problem):
		explainProblem(&b, problem)
	case exitCode(err) == ExitInterrupted:
		b.WriteString("interrupted\n")
	case away(err):
		where := silent(err, address)
		fmt.Fprintf(&b, "voicemill: no server answers at %s (%s).\n", where, reason(err))
		if where == address {
			b.WriteString("Start one with `voicemill up`, or name another with --url or VOICEMILL_URL.\n")
		} else {
			b.WriteString("That is where the server keeps its files.\n")
		}
	default:
		fmt.Fprintf(&b, "voicemill: %s\n", progress.Clean(err.Error()))
	}
	return b.String()
}

// silent returns the address that did not answer: the bucket's, if it was that,
// without the signature that makes its URLs work.
func silent(err error, address string) string {
	if ue, ok := errors.AsType[*url.Error](err); ok {
		if u, perr := url.Parse(ue.URL); perr == nil && u.Host != "" && !strings.HasPrefix(ue.URL, address+"/") {
			return u.Scheme + "://" + u.Host
		}
	}
	return address
}

// hint says what to do about a status that has one usual cause, or nothing.
func hint(status int) string {
	switch status {
	case http.StatusUnauthorized:
		return "Set VOICEMILL_KEY or use --key-file; `voicemill up` prints the first key and keeps it in first-key in its data directory.\n"
	case http.StatusForbidden:
		return "Use a key with the scope that this needs; `voicemill keys create --scope …` makes one.\n"
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		return "Try again later.\n"
	}
	return ""
}

func explainProblem(b *strings.Builder, p *client.Problem) {
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
	b.WriteString(hint(p.Status))
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

func writeErrorDocument(con *console.Console, err error, address string) {
	var d errorDocument
	d.Error.ExitCode, d.Error.Title = exitCode(err), err.Error()
	if away(err) { // its text has the whole URL, signature and all
		d.Error.Title, d.Error.Detail = "no server answers at "+silent(err, address), reason(err)
	}
	if p, ok := errors.AsType[*client.Problem](err); ok {
		d.Error.Title, d.Error.Detail, d.Error.Status, d.Error.Type = p.Title, p.Detail, p.Status, p.Type
		d.Error.RequestID, d.Error.Errors = p.RequestID, p.Errors
	}
	_ = json.NewEncoder(con.Err).Encode(d)
}
