package clients_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/api/client"
	"github.com/voicemill/voicemill/api/client/frames"
	"github.com/voicemill/voicemill/api/jobdoc"
	"github.com/voicemill/voicemill/e2e/internal/stage"
	"github.com/voicemill/voicemill/job"
)

func frameTests(solo *stage.Solo) map[string]func(*testing.T) {
	return map[string]func(*testing.T){"many calls share a connection": func(t *testing.T) { manyCalls(t, solo) }}
}

func manyCalls(t *testing.T, solo *stage.Solo) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), testLimit)
	defer cancel()
	address := strings.TrimPrefix(solo.URL(), "http://")
	c, err := frames.Dial(ctx, frames.Config{Address: address, Key: solo.Key()})
	require.NoError(t, err)
	defer func() { require.NoError(t, c.Close()) }()
	require.NoError(t, c.Ping(ctx))

	var calls sync.WaitGroup // many at a time, on one connection
	for _, who := range []string{"the first stream", "the second", "the third"} {
		calls.Go(func() { frameJob(ctx, t, c, who) })
	}
	calls.Wait()

	spec := &job.Spec{Input: job.Input{Text: "Once."}, Language: "en"}
	first, err := c.Submit(ctx, spec, frames.SubmitOptions{IdempotencyKey: "one"})
	require.NoError(t, err)
	again, err := c.Submit(ctx, spec, frames.SubmitOptions{IdempotencyKey: "one"})
	require.NoError(t, err)
	require.Equal(t, first.ID, again.ID)
	cancelled, err := c.Cancel(ctx, first.ID)
	var problem *client.Problem
	for errors.As(err, &problem) && problem.Status == http.StatusServiceUnavailable { // it is just being stored
		<-time.After(problem.RetryAfter)
		cancelled, err = c.Cancel(ctx, first.ID)
	}
	require.NoError(t, err)
	require.True(t, cancelled.State.Final())

	_, err = c.Submit(ctx, &job.Spec{Input: job.Input{Text: "x"}, Voice: "nobody"}, frames.SubmitOptions{})
	require.ErrorAs(t, err, &problem)
	require.Equal(t, job.Invalid, problem.Kind())
	_, err = frames.Dial(ctx, frames.Config{Address: address, Key: "vm_0123456789abcdefghjkmnpqrs"})
	require.ErrorAs(t, err, &problem)
	require.Equal(t, job.Unauthorized, problem.Kind())
}

// frameJob hands in a story, watches it being spoken and reads how it ended.
func frameJob(ctx context.Context, t *testing.T, c *frames.Conn, who string) {
	accepted, err := c.Submit(ctx, &job.Spec{Input: job.Input{Text: story(who)}, Language: "en"}, frames.SubmitOptions{})
	if !requireNone(t, err) {
		return
	}
	var events []jobdoc.Event
	if !requireNone(t, c.Watch(ctx, accepted.ID, 0, func(e jobdoc.Event) { events = append(events, e) })) {
		return
	}
	d, err := c.Poll(ctx, accepted.ID, 0, time.Second)
	if !requireNone(t, err) {
		return
	}
	if last := events[len(events)-1]; d.State != job.StateSucceeded || last.State != d.State || last.Version != d.Version {
		t.Errorf("%s: the last event is %+v, the job %s at version %d", who, last, d.State, d.Version)
	}
}

// requireNone reports an error from a goroutine that is not the test's.
func requireNone(t *testing.T, err error) bool {
	if err != nil {
		t.Error(err)
	}
	return err == nil
}
