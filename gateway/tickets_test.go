package gateway

import (
	"bytes"
	"context"
	"crypto/rand"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestTicketKeysChangeEveryDayAndAreKnownForAWeekMore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		own, err := NewTickets(rand.Reader, nil)
		require.NoError(t, err)
		first := own.current()[0]
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		told := make(chan [][ticketKeyBytes]byte, 1)
		done := make(chan error, 1)
		go func() { done <- own.run(ctx, func(keys [][ticketKeyBytes]byte) { told <- keys }) }()
		time.Sleep(ticketKeyLife - time.Second)
		synctest.Wait()
		require.Empty(t, told)
		for day := 1; day < maxTicketKeys; day++ {
			time.Sleep(ticketKeyLife)
			used := <-told
			require.Len(t, used, day+1)
			require.Equal(t, first, used[day], "it opens old tickets")
			require.NotContains(t, used[:day], first, "it makes no new ones")
		}
		time.Sleep(ticketKeyLife)
		used := <-told
		require.Len(t, used, maxTicketKeys)
		require.NotContains(t, used, first)
		require.Equal(t, used, own.current())
		cancel()
		require.NoError(t, <-done)
	})
}

func TestTicketKeysPassToTheNextProcessWithTheirAge(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		old, err := NewTickets(rand.Reader, nil)
		require.NoError(t, err)
		time.Sleep(ticketKeyLife)
		require.NoError(t, old.renew(time.Now()))
		time.Sleep(ticketKeyLife / 2)
		next, err := NewTickets(rand.Reader, old.Material())
		require.NoError(t, err)
		require.Equal(t, old.current(), next.current())
		require.Equal(t, ticketKeyLife/2, next.due(time.Now()), "a process that is replaced often still changes its key")
	})
}

func TestTicketKeysThatAreNoneAreToldAndReplaced(t *testing.T) {
	t.Parallel()
	ahead, err := NewTickets(rand.Reader, nil)
	require.NoError(t, err)
	ahead.keys[0].made = time.Now().Add(time.Hour)
	good, err := NewTickets(rand.Reader, nil)
	require.NoError(t, err)
	for name, material := range map[string][]byte{
		"empty": {}, "cut": good.Material()[:ticketMaterialBytes-1], "too many": bytes.Repeat(good.Material(), maxTicketKeys+1), "of tomorrow": ahead.Material(),
	} {
		fresh, err := NewTickets(rand.Reader, material)
		require.ErrorIs(t, err, errTicketMaterial, name)
		require.Len(t, fresh.current(), 1, name)
		require.NotEqual(t, good.current(), fresh.current(), name)
	}
	none, err := NewTickets(iotest.ErrReader(iotest.ErrTimeout), nil)
	require.ErrorIs(t, err, iotest.ErrTimeout)
	require.Nil(t, none)
}
