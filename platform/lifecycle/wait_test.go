package lifecycle_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/voicemill/voicemill/platform/lifecycle"
)

func TestSleepLastsUntilItsTimeOrTheEndOfItsContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		begun := time.Now()
		if whole := lifecycle.Sleep(t.Context(), time.Hour); !whole || time.Since(begun) != time.Hour {
			t.Errorf("Sleep = %t after %s; want true after an hour", whole, time.Since(begun))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		begun = time.Now()
		if whole := lifecycle.Sleep(ctx, time.Hour); whole || time.Since(begun) != time.Minute {
			t.Errorf("Sleep = %t after %s; want false after a minute", whole, time.Since(begun))
		}
	})
}

func TestASignalIsKeptUntilItIsReceivedAndCountsOnce(t *testing.T) {
	t.Parallel()
	s := lifecycle.NewSignal()
	for range 3 {
		s.Raise()
	}
	<-s
	select {
	case <-s:
		t.Error("a signal that was raised three times is received twice")
	default:
	}
	s.Raise()
	<-s
}
