package pg_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/pg"
)

func TestEveryErrorOfTheDatabaseHasAKind(t *testing.T) {
	t.Parallel()
	code := func(c string) error { return fmt.Errorf("wrapped: %w", &pgconn.PgError{Code: c}) }
	for name, c := range map[string]struct {
		err  error
		want job.Kind
	}{
		"serialization failure":      {code("40001"), job.Unavailable},
		"deadlock":                   {code("40P01"), job.Unavailable},
		"shutdown":                   {code("57P01"), job.Unavailable},
		"starting up":                {code("57P03"), job.Unavailable},
		"too many connections":       {code("53300"), job.Unavailable},
		"disk full":                  {code("53100"), job.Unavailable},
		"disk broken":                {code("58030"), job.Unavailable},
		"read-only after a failover": {code("25006"), job.Unavailable},
		"unique key":                 {code("23505"), job.Conflict},
		"foreign key":                {code("23503"), job.Conflict},
		"check":                      {code("23514"), job.Internal},
		"syntax":                     {code("42601"), job.Internal},
		"zero byte in text":          {code("22021"), job.Invalid},
		"odd code":                   {code(""), job.Internal},
		"no rows":                    {pgx.ErrNoRows, job.NotFound},
		"cut connection":             {io.ErrUnexpectedEOF, job.Unavailable},
		"closed connection":          {pgconn.ErrConnClosed, job.Unavailable},
		"time-out":                   {context.DeadlineExceeded, job.Unavailable},
		"known already":              {&job.Error{Kind: job.Forbidden}, job.Forbidden},
		"unknown":                    {errors.New("?"), job.Internal},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := pg.Classify(c.err)
			require.Equal(t, c.want, job.KindOf(got))
			require.ErrorIs(t, got, c.err)
		})
	}
	require.NoError(t, pg.Classify(nil))
	require.Contains(t, job.PublicOf(pg.Classify(code("53100")), ""), "no room")
}
