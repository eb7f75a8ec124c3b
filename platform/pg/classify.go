package pg

import (
	"context"
	"errors"
	"io"
	"net"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/puddle/v2"

	"github.com/voicemill/voicemill/job"
)

type verdict struct {
	kind   job.Kind
	public string
}

const (
	sayAway     = "The database is away for the moment; try again shortly."
	sayFull     = "The database has no room left; nothing was stored."
	sayNoSuch   = "There is nothing under this name."
	sayConflict = "This contradicts what is stored already."
	sayBytes    = "The text holds a character that cannot be stored, such as U+0000."
)

// byCode maps an SQLSTATE to a verdict; a code that is not listed is looked up
// by its class, the first two characters.
var byCode = map[string]verdict{
	"08":    {job.Unavailable, sayAway}, // connection exception
	"22021": {job.Invalid, sayBytes},    // character_not_in_repertoire
	"22P05": {job.Invalid, sayBytes},    // untranslatable_character
	"23503": {job.Conflict, sayConflict},
	"23505": {job.Conflict, sayConflict},
	"23P01": {job.Conflict, sayConflict},
	"25006": {job.Unavailable, sayAway}, // read-only: a failover is under way
	"28":    {job.Unavailable, sayAway}, // a password being rotated
	"3D":    {job.Unavailable, sayAway},
	"40":    {job.Unavailable, sayAway}, // serialization failure, deadlock: rolled back
	"53":    {job.Unavailable, sayAway}, // too many connections, out of memory
	"53100": {job.Unavailable, sayFull}, // disk full
	"55P03": {job.Unavailable, sayAway}, // lock not available
	"57014": {job.Unavailable, sayAway}, // query cancelled
	"57":    {job.Unavailable, sayAway}, // shutdown, crash, cannot connect now
	"58":    {job.Unavailable, sayAway}, // the server's disk failed
}

// Classify gives err a Kind: Unavailable when the database is away, full or
// rolled the transaction back for its own reasons, NotFound for no rows,
// Conflict for a violated key, Invalid for text it cannot store, Internal
// otherwise. An err that carries a *job.Error already, and nil, come back as
// they are. A done context is Unavailable and stays visible to errors.Is.
func Classify(err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*job.Error](err); ok {
		return err
	}
	v := judge(err)
	return &job.Error{Op: "pg", Kind: v.kind, Public: v.public, Err: err}
}

func judge(err error) verdict {
	if pe, ok := errors.AsType[*pgconn.PgError](err); ok {
		if v, ok := byCode[pe.Code]; ok {
			return v
		}
		if v, ok := byCode[pe.Code[:min(2, len(pe.Code))]]; ok {
			return v
		}
		return verdict{kind: job.Internal}
	}
	var ce *pgconn.ConnectError
	var ne net.Error
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return verdict{job.NotFound, sayNoSuch}
	case errors.As(err, &ce), errors.As(err, &ne),
		errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded),
		errors.Is(err, errConnectTimeout), errors.Is(err, puddle.ErrClosedPool),
		errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed),
		errors.Is(err, pgconn.ErrConnClosed), pgconn.SafeToRetry(err):
		return verdict{job.Unavailable, sayAway}
	}
	return verdict{kind: job.Internal}
}
