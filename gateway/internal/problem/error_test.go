package problem_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/gateway/internal/problem"
	"github.com/voicemill/voicemill/job"
)

func TestAnErrorIsToldByItsKindAndItsPublicSentence(t *testing.T) {
	t.Parallel()
	secret := errors.New("connection to 10.0.0.7 refused")
	for kind, want := range map[job.Kind]int{
		job.Internal: 500, job.Invalid: 422, job.Unauthorized: 401, job.Forbidden: 403, job.NotFound: 404, job.Conflict: 409,
		job.TooLarge: 413, job.Overloaded: 503, job.Unavailable: 503, job.Engine: 503, job.Cancelled: 409,
	} {
		p := problem.Of(fmt.Errorf("read: %w", &job.Error{Kind: kind, Err: secret}))
		d := p.Document("req_1")
		require.Equal(t, want, d.Status, kind)
		require.NotEmpty(t, d.Detail, kind)
		require.NotContains(t, fmt.Sprintf("%+v", d), "10.0.0.7", kind)
		require.ErrorIs(t, p, secret, "the log has it")
	}
	require.Equal(t, "Try again.", problem.Of(&job.Error{Kind: job.Unavailable, Public: "Try again."}).Document("").Detail)
	told := problem.New(problem.NotFound, "There is no such job.")
	require.Same(t, told, problem.Of(fmt.Errorf("get: %w", told)))
}

func TestWhatPassesByItselfSaysWhen(t *testing.T) {
	t.Parallel()
	require.Zero(t, problem.New(problem.NotFound, "").RetryAfter())
	require.Equal(t, 2*time.Second, problem.New(problem.Unavailable, "").RetryAfter())
	require.Equal(t, 2*time.Second, problem.OfStatus(503, "").RetryAfter())
	require.Equal(t, time.Minute, problem.Shed(problem.TooManyRequests, "key", time.Minute, "").RetryAfter())
}

func TestALimitHasATypeOfItsOwnIfNothingElseIsWrong(t *testing.T) {
	t.Parallel()
	var faults job.Faults
	faults.Add(job.Fault{Pointer: "/input/text", Detail: "is long", Kind: job.TooLarge})
	p := problem.Faulty(faults)
	require.Equal(t, problem.TextTooLarge, p.Slug)
	require.Equal(t, "/input/text: is long.", p.Detail)
	faults.Add(job.Fault{Pointer: "/class", Detail: "is not known", Kind: job.Invalid})
	p = problem.Faulty(faults)
	require.Equal(t, problem.Invalid, p.Slug)
	require.Equal(t, "2 faults; the first: /class: is not known.", p.Detail)
	require.Len(t, p.Document("").Errors, 2)
}
