package blob

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/minio/minio-go/v7"

	"github.com/voicemill/voicemill/job"
)

// errStalled is the cause of a context whose transfer made no progress.
var errStalled = fmt.Errorf("no byte moved for %s", stallAfter)

const (
	sayAway = "The object store is away for the moment; try again shortly."
	sayFull = "The object store has no room left; nothing was stored."
	sayGone = "There is no such file."
)

// classify gives an error of the client or the server its Kind.
func classify(op, key string, err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*job.Error](err); ok {
		return err
	}
	kind, public := judge(err)
	return &job.Error{Op: "blob." + op, Kind: kind, Public: public, Err: fmt.Errorf("%s: %w", key, err)}
}

func judge(err error) (job.Kind, string) {
	var r minio.ErrorResponse
	if !errors.As(err, &r) {
		return job.Unavailable, sayAway // the network, or a done context
	}
	switch r.Code {
	case "NoSuchBucket":
		return job.Unavailable, sayAway
	case "InsufficientStorage", "QuotaExceeded", "XMinioStorageFull":
		return job.Overloaded, sayFull
	case "EntityTooLarge":
		return job.TooLarge, ""
	case "ExpiredToken", "InvalidToken":
		return job.Unavailable, sayAway
	}
	switch r.StatusCode {
	case http.StatusNotFound:
		return job.NotFound, sayGone
	case http.StatusPreconditionFailed, http.StatusConflict:
		return job.Conflict, ""
	case http.StatusRequestedRangeNotSatisfiable:
		return job.Invalid, ""
	case http.StatusInsufficientStorage:
		return job.Overloaded, sayFull
	case 0, http.StatusTooManyRequests, http.StatusRequestTimeout:
		return job.Unavailable, sayAway
	case http.StatusUnauthorized, http.StatusForbidden:
		return job.Unavailable, sayAway // keys that are being rotated, or a clock that is off: it passes, or somebody mends it
	}
	if r.StatusCode >= http.StatusInternalServerError {
		return job.Unavailable, sayAway
	}
	return job.Internal, "" // a request that we built wrongly
}

// exists reports the answer to a conditional put of an object that is there.
func exists(err error) bool {
	var r minio.ErrorResponse
	return errors.As(err, &r) && (r.StatusCode == http.StatusPreconditionFailed || r.StatusCode == http.StatusConflict)
}
