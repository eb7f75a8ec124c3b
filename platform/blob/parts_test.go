package blob

import (
	"context"
	"errors"
	"runtime"
	"testing"
	"time"
	"weak"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/job"
)

func TestOnlySoManyPartsAreOut(t *testing.T) {
	t.Parallel()
	p := newParts(2)
	a, err := p.wait(t.Context())
	require.NoError(t, err)
	_, err = p.now()
	require.NoError(t, err)
	_, err = p.now()
	require.Equal(t, job.Overloaded, job.KindOf(err))
	gone := errors.New("gone")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(gone)
	_, err = p.wait(ctx)
	require.ErrorIs(t, err, gone)
	p.back(a)
	_, err = p.wait(t.Context())
	require.NoError(t, err)
}

func TestPartsThatNobodyUsesAreFreed(t *testing.T) {
	t.Parallel()
	p := newParts(1)
	part, err := p.now()
	require.NoError(t, err)
	memory := weak.Make(part)
	p.back(part)
	require.Eventually(t, func() bool { runtime.GC(); return memory.Value() == nil }, 30*time.Second, time.Millisecond)
}
