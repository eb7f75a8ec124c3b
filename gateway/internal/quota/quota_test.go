package quota_test

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/gateway/internal/quota"
	"github.com/voicemill/voicemill/job"
)

type list struct {
	tenants []job.Tenant
	err     error
}

func (l *list) QuotaTenants(context.Context) ([]job.Tenant, error) { return l.tenants, l.err }

func TestWhoHasAQuotaIsKnownWithinTwoSeconds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		src := &list{err: errors.New("away")}
		d := quota.NewDirectory(src, slog.New(slog.DiscardHandler))
		require.True(t, d.Has("a"), "nobody knows yet")
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- d.Run(ctx) }()
		synctest.Wait()
		require.True(t, d.Has("a"))
		src.err = nil
		time.Sleep(2 * time.Second)
		synctest.Wait()
		require.False(t, d.Has("a"))
		src.tenants = []job.Tenant{"a"}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		require.True(t, d.Has("a"))
		require.False(t, d.Has("b"))
		src.err = errors.New("away")
		time.Sleep(2 * time.Second)
		synctest.Wait()
		require.True(t, d.Has("a"), "what was known stays")
		cancel()
		require.NoError(t, <-done)
	})
	require.False(t, (*quota.Directory)(nil).Has("a"))
}
