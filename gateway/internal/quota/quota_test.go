package quota_test

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/gateway/internal/quota"
	"github.com/voicemill/voicemill/job"
)

type list struct {
	mu      sync.Mutex
	tenants []job.Tenant
	err     error
}

func (l *list) QuotaTenants(context.Context) ([]job.Tenant, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.tenants, l.err
}

func (l *list) set(err error, tenants ...job.Tenant) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tenants, l.err = tenants, err
}

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
		src.set(nil)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		require.False(t, d.Has("a"))
		src.set(nil, "a")
		time.Sleep(2 * time.Second)
		synctest.Wait()
		require.True(t, d.Has("a"))
		require.False(t, d.Has("b"))
		src.set(errors.New("away"))
		time.Sleep(2 * time.Second)
		synctest.Wait()
		require.True(t, d.Has("a"), "what was known stays")
		cancel()
		require.NoError(t, <-done)
	})
	require.False(t, (*quota.Directory)(nil).Has("a"))
}
