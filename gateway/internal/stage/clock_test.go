package stage_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/gateway/internal/stage"
)

func TestStagesComeToTheWhole(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var c stage.Clock
		began := time.Now()
		c.Start(began)
		require.Empty(t, c.Attr(time.Second).Key, "answered on the loop")
		time.Sleep(time.Millisecond)
		c.Turn(stage.Work)
		ctx := stage.With(t.Context(), &c)
		for range 2 {
			leave := stage.Enter(ctx, stage.Queue)
			time.Sleep(2 * time.Millisecond)
			leave()
			time.Sleep(3 * time.Millisecond)
		}
		leave := stage.Enter(ctx, stage.Hold)
		time.Sleep(time.Second)
		leave()
		got := map[string]time.Duration{}
		for _, a := range c.Attr(time.Since(began)).Value.Group() {
			got[a.Key] = a.Value.Duration()
		}
		require.Equal(t, map[string]time.Duration{
			"loop": time.Millisecond, "queue": 4 * time.Millisecond, "work": 6 * time.Millisecond, "hold": time.Second,
		}, got)
	})
}

func TestAContextWithoutAClockIsNoTrouble(t *testing.T) {
	t.Parallel()
	stage.Enter(t.Context(), stage.Auth)()
}
