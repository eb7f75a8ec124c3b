package callback

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	webhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/voicemill/voicemill/platform/outside"
	"github.com/voicemill/voicemill/scheduler/internal/store"
)

// maxAnswerBytes is how much of a receiver's answer is read, header and body each.
const maxAnswerBytes = 64 << 10

// answer is what a receiver made of one attempt. Text says why it did not
// succeed, in words for the owner of the job; it names no address.
type answer struct {
	status     int    // 0 if there was none
	cause      string // one of [Causes], if it did not succeed
	text       string
	retryAfter time.Duration
}

func (a answer) ok() bool   { return a.status >= 200 && a.status < 300 && a.text == "" }
func (a answer) gone() bool { return a.status == http.StatusGone }

// post makes one attempt. An error means that the request cannot be made at
// all; everything else is in the answer.
func post(ctx context.Context, client *http.Client, d store.Delivery, now time.Time) (answer, error) {
	hook, err := webhooks.NewWebhook(d.Secret.Reveal())
	if err != nil {
		return answer{}, errors.New("the tenant's callback secret cannot be read") // err may quote it
	}
	signature, err := hook.Sign(d.ID, now, []byte(d.Payload))
	if err != nil {
		return answer{}, fmt.Errorf("sign callback %s: %w", d.ID, err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, d.URL, strings.NewReader(d.Payload))
	if err != nil {
		return answer{}, fmt.Errorf("prepare callback %s: %w", d.ID, err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "voicemill")
	req.Header.Set(webhooks.HeaderWebhookID, d.ID)
	req.Header.Set(webhooks.HeaderWebhookTimestamp, strconv.FormatInt(now.Unix(), 10))
	req.Header.Set(webhooks.HeaderWebhookSignature, signature)
	res, err := client.Do(req)
	if err != nil {
		cause, text := reason(err)
		return answer{cause: cause, text: text}, nil
	}
	defer func() { _ = res.Body.Close() }() // the answer is judged by its status
	a := answer{status: res.StatusCode, retryAfter: parseRetryAfter(res.Header.Get("Retry-After"), now)}
	if _, err := io.Copy(io.Discard, io.LimitReader(res.Body, maxAnswerBytes)); err != nil && !a.ok() {
		_, a.text = reason(err)
	}
	switch {
	case a.ok():
		return a, nil
	case a.status >= 300 && a.status < 400:
		a.text = fmt.Sprintf("The receiver answered %d; redirects are not followed.", a.status)
	case a.text == "":
		a.text = fmt.Sprintf("The receiver answered %d.", a.status)
	}
	a.cause = causeOf(a.status)
	return a, nil
}

// Why an attempt did not succeed.
const (
	causeRefused  = "refused" // by us: its address or port is not allowed
	causeName     = "name"
	causeTimeout  = "timeout"
	causeStopped  = "stopped"
	causeClosed   = "closed"
	causeAway     = "away"
	causeOurs     = "ours" // it could not be prepared
	causeRedirect = "status_3xx"
	causeClient   = "status_4xx"
	causeServer   = "status_5xx"
	causeOther    = "status_other"
)

// Causes lists why an attempt may not succeed.
func Causes() []string {
	return []string{causeRefused, causeName, causeTimeout, causeStopped, causeClosed, causeAway, causeOurs, causeRedirect, causeClient, causeServer, causeOther}
}

func causeOf(status int) string {
	switch status / 100 {
	case 3:
		return causeRedirect
	case 4:
		return causeClient
	case 5:
		return causeServer
	}
	return causeOther
}

// reason says why a request had no answer, for programs and for people.
func reason(err error) (cause, text string) {
	var dns *net.DNSError
	var timeout net.Error
	switch {
	case outside.Refused(err):
		return causeRefused, "The receiver's address or port is not allowed."
	case errors.As(err, &dns):
		return causeName, "The receiver's name could not be resolved."
	case errors.Is(err, os.ErrDeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return causeTimeout, "The receiver did not answer in time."
	case errors.Is(err, context.Canceled):
		return causeStopped, "The attempt was interrupted."
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return causeClosed, "The receiver closed the connection without an answer."
	}
	return causeAway, "The receiver could not be reached."
}
