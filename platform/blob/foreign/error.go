package foreign

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"

	"github.com/minio/minio-go/v7"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/outside"
)

// classify says what failed and why, in words for the owner of the bucket. Its
// Kind says whether the same may succeed later by itself: see [job.Retryable].
func classify(what string, err error) error {
	if err == nil {
		return nil
	}
	if _, ours := errors.AsType[*job.Error](err); ours {
		return err
	}
	kind, why := judge(err)
	return &job.Error{Op: "foreign", Kind: kind, Public: fmt.Sprintf("To %s did not succeed: %s.", what, why), Err: err}
}

func judge(err error) (job.Kind, string) {
	var r minio.ErrorResponse
	var dns *net.DNSError
	var timeout net.Error
	switch {
	case outside.Refused(err):
		return job.Forbidden, "the store's address or port is not allowed here"
	case errors.Is(err, errUnlike):
		return job.Unavailable, "the store keeps other bytes than were sent"
	case errors.As(err, &r) && r.StatusCode != 0:
		return ofStore(r)
	case errors.As(err, &dns):
		return job.Unavailable, "the store's name could not be resolved"
	case untrusted(err):
		return job.Unavailable, "the store's certificate is not trusted"
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return job.Unavailable, "the store did not answer in time"
	case errors.Is(err, context.Canceled):
		return job.Unavailable, "it was interrupted"
	}
	return job.Unavailable, "the store could not be reached"
}

func untrusted(err error) bool {
	var authority x509.UnknownAuthorityError
	var host x509.HostnameError
	var invalid x509.CertificateInvalidError
	var verify *tls.CertificateVerificationError
	return errors.As(err, &authority) || errors.As(err, &host) || errors.As(err, &invalid) || errors.As(err, &verify)
}

// said are the codes that are explained; others are told as they are.
//
//nolint:gochecknoglobals // a table
var said = map[string]struct {
	kind job.Kind
	why  string
}{
	"InvalidAccessKeyId":           {job.Unauthorized, "there is no such access key"},
	"XAdminUserNotFound":           {job.Unauthorized, "there is no such access key"}, // versitygw
	"SignatureDoesNotMatch":        {job.Unauthorized, "the secret key is not that of the access key"},
	"InvalidToken":                 {job.Unauthorized, "the credentials are not valid"},
	"AccessDenied":                 {job.Forbidden, "the credentials may not do this"},
	"AllAccessDisabled":            {job.Forbidden, "the bucket is closed"},
	"AccountProblem":               {job.Forbidden, "the account has a problem"},
	"NoSuchBucket":                 {job.NotFound, "there is no such bucket"},
	"InvalidBucketName":            {job.Invalid, "no bucket can have this name"},
	"PermanentRedirect":            {job.Invalid, "the bucket is at another endpoint; redirects are not followed"},
	"AuthorizationHeaderMalformed": {job.Invalid, "the region is not the bucket's"},
	"EntityTooLarge":               {job.TooLarge, "the object is too large"},
	"QuotaExceeded":                {job.Overloaded, "the bucket has no room left"},
	"XMinioStorageFull":            {job.Overloaded, "the store has no room left"},
	"InsufficientStorage":          {job.Overloaded, "the store has no room left"},
	"RequestTimeTooSkewed":         {job.Unavailable, "the store's clock and ours differ"},
	"BadDigest":                    {job.Unavailable, "the bytes were damaged on their way"},
}

// ofStore judges what a store answered. Nothing of its text is told on but a code
// that looks like one: it may be no store at all.
func ofStore(r minio.ErrorResponse) (job.Kind, string) {
	if known, ok := said[r.Code]; ok {
		return known.kind, fmt.Sprintf("the store says %s: %s", r.Code, known.why)
	}
	why := fmt.Sprintf("the store answered with status %d", r.StatusCode)
	if good := strings.Trim(r.Code, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ") == ""; good && r.Code != "" && len(r.Code) <= 64 {
		why += " (" + r.Code + ")"
	}
	switch s := r.StatusCode; {
	case s >= http.StatusMultipleChoices && s < http.StatusBadRequest:
		return job.Invalid, why + "; redirects are not followed"
	case s == http.StatusUnauthorized:
		return job.Unauthorized, why
	case s == http.StatusForbidden:
		return job.Forbidden, why + ": the credentials may not do this"
	case s == http.StatusNotFound:
		return job.NotFound, why
	case s == http.StatusInsufficientStorage:
		return job.Overloaded, why
	case s == http.StatusRequestTimeout, s == http.StatusTooManyRequests, s >= http.StatusInternalServerError:
		return job.Unavailable, why
	}
	return job.Invalid, why
}
