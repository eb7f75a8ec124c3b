package api

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/voicemill/voicemill/gateway/internal/inflate"
	"github.com/voicemill/voicemill/gateway/internal/limit"
	"github.com/voicemill/voicemill/gateway/internal/store"
	"github.com/voicemill/voicemill/gateway/internal/strictjson"
	"github.com/voicemill/voicemill/job"
)

const (
	contentLines = "application/x-ndjson"

	batchLines   = 256             // lines that become durable together
	batchBytes   = 512 << 10       // bytes of such lines, about
	batchRead    = 64 << 10        // read at a time
	longestPause = 5 * time.Second // for a limit of the caller's or a slow intake, before a line is refused
	loadPause    = 100 * time.Millisecond
)

// batch is one POST /v1/jobs:batch: lines are read while they arrive and become
// durable in groups, each of them as many as have arrived, so that a client that
// waits for an answer before it goes on gets it. What is in memory is one group.
type batch struct {
	a   *API
	c   *Call
	in  *bufio.Reader
	out Outlet // nil until the first answer
	key string // what the keys of the lines begin with; empty without an Idempotency-Key

	n     int    // lines so far
	long  []byte // a line that is longer than what is read at a time
	group []*batchLine
	bytes int // of the lines of the group

	burdened bool // the intake did not take the last line, though it was waited for
}

// batchLine is one line of a batch.
type batchLine struct {
	n int
	submission
	refusal *Answer // nil: the job is accepted
	settled bool    // nothing more is to be done
}

// lineAnswer is one line of the answer.
type lineAnswer struct {
	Line    int      `json:"line"`
	Status  int      `json:"status"`
	ID      job.ID   `json:"id,omitempty"`
	Problem *Problem `json:"problem,omitempty"`
}

var errTooManyLines = errors.New("api: too many lines")

// submitBatch answers a batch. It runs on a goroutine of its own.
func (a *API) submitBatch(c *Call) {
	media, params, err := mime.ParseMediaType(string(c.Header("content-type")))
	if charset := params["charset"]; err != nil || media != contentLines || (charset != "" && !strings.EqualFold(charset, "utf-8")) {
		a.refuse(c, mediaType, "Send the jobs as Content-Type: "+contentLines+", one a line.")
		return
	}
	body := c.stream.Reader()
	switch enc := strings.ToLower(string(c.Header("content-encoding"))); enc {
	case "", "identity":
	case "gzip":
		l := inflate.DefaultLimits()
		l.Bytes = int64(a.cfg.BatchLines) * int64(a.cfg.BodyBytes)
		body = inflate.NewReader(body, l)
	default:
		a.refuse(c, mediaType, "Send the lines as they are or with Content-Encoding: gzip.")
		return
	}
	b := &batch{a: a, c: c, in: bufio.NewReaderSize(body, batchRead)}
	if key := c.Header("idempotency-key"); key != nil {
		if !goodKey(key) {
			a.refuse(c, badRequest, "Idempotency-Key must have 1 to 255 visible ASCII characters.")
			return
		}
		sum := sha256.Sum256(key)
		b.key = "batch:" + base64.RawURLEncoding.EncodeToString(sum[:]) + ":"
	}
	if err := a.ready(); err != nil {
		a.fail(c, err)
		return
	}
	b.run(c.Context())
}

func (b *batch) run(ctx context.Context) {
	end := errPanic // unless it gets to its end
	defer func() {
		if b.out != nil {
			b.out.End(end)
		}
	}()
	err := b.lines(ctx)
	if errors.Is(err, io.EOF) {
		err = b.commit(ctx)
		if err == nil && b.n == 0 {
			b.a.refuse(b.c, badRequest, "The body has no line.")
		}
	}
	if end = err; errors.Is(err, errTooManyLines) {
		end = nil // the last line of the answer says so
	}
	switch {
	case b.out != nil || err == nil:
	case job.KindOf(err) == job.Invalid: // the packing of the body
		b.a.refuseWith(b.c, badRequest, job.PublicOf(err, ""), err, job.Faults{})
	default:
		b.a.fail(b.c, err)
	}
}

// lines takes line after line. It returns io.EOF after the last.
func (b *batch) lines(ctx context.Context) error {
	for {
		line, err := b.next()
		if err != nil && (!errors.Is(err, io.EOF) || len(line) == 0 && b.long == nil) {
			return err
		}
		b.n++
		if b.n > b.a.cfg.BatchLines {
			if err := b.commit(ctx); err != nil {
				return err
			}
			return errors.Join(errTooManyLines, b.answer(&batchLine{n: b.n, refusal: b.a.problem(b.c, tooManyLines, fmt.Sprintf("A batch has at most %d lines; send the rest in another one.", b.a.cfg.BatchLines))}))
		}
		b.group = append(b.group, b.read(line))
		b.bytes += len(line)
		b.long = nil
		if err != nil {
			return err
		}
		if len(b.group) == batchLines || b.bytes >= batchBytes || !b.waiting() {
			if err := b.commit(ctx); err != nil {
				return err
			}
		}
	}
}

// waiting reports whether another whole line has arrived already.
func (b *batch) waiting() bool {
	have, _ := b.in.Peek(b.in.Buffered())
	return bytes.IndexByte(have, '\n') >= 0
}

// next returns the next line without its end. One that is too long is passed
// over, and is then longer than a body. With io.EOF comes what follows the last
// line end.
func (b *batch) next() ([]byte, error) {
	for {
		part, err := b.in.ReadSlice('\n')
		if err == nil && b.long == nil {
			return part[:len(part)-1], nil
		}
		if len(b.long) <= b.a.cfg.BodyBytes {
			b.long = append(b.long, part...)
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		return bytes.TrimSuffix(b.long, []byte{'\n'}), err
	}
}

// read makes a job of a line, or says what is wrong with it.
func (b *batch) read(line []byte) *batchLine {
	a, c := b.a, b.c
	l := &batchLine{n: b.n, submission: submission{a: a, c: c}}
	line = bytes.TrimSuffix(line, []byte{'\r'})
	switch {
	case len(line) > a.cfg.BodyBytes:
		return l.refuse(a.problem(c, tooLarge, fmt.Sprintf("The line has more than %d bytes. Upload the text instead.", a.cfg.BodyBytes)))
	case len(bytes.TrimSpace(line)) == 0:
		return l.refuse(a.problem(c, notJSON, "The line is empty."))
	}
	l.body = sha256.Sum256(slices.Concat([]byte(c.Route+"\n"), line))
	if b.key != "" {
		l.key = b.key + strconv.Itoa(l.n)
	}
	shape, err := a.specs.Decode(line, &l.spec)
	if syntax, ok := errors.AsType[*strictjson.SyntaxError](err); ok {
		return l.refuse(a.problem(c, notJSON, "The line is "+syntax.Error()+"."))
	}
	l.faults = a.faults(shape, &l.spec)
	if err := l.ask(c.Context()); err != nil {
		return l.refuse(a.failure(c, err))
	}
	if l.faults.Any() {
		return l.refuse(a.faulty(c, l.faults))
	}
	return b.admit(l)
}

func (l *batchLine) refuse(why *Answer) *batchLine {
	l.refusal, l.settled = why, true
	return l
}

// admit counts the line against the limits of its caller, as a request of its
// own. A limit that lets it pass soon is waited for, and so is an intake that is
// slow: the client, which is not read meanwhile, sends less.
func (b *batch) admit(l *batchLine) *batchLine {
	a, key, tenant := b.a, b.c.Identity.KeyID, string(b.c.Identity.Tenant)
	if !b.unburdened(l.spec.Class) {
		a.shed(shedReason(l.spec.Class))
		return l.refuse(a.problem(b.c, overloaded, "Jobs take too long to be stored right now; try again later."))
	}
	var v limit.Verdict
	passed := b.pace(func(at time.Time) time.Duration { v = a.dep.Guard.Request(key, tenant, at); return v.Wait }) &&
		b.pace(func(at time.Time) time.Duration {
			v = a.dep.Guard.Characters(key, tenant, characters(&l.spec), at)
			return v.Wait
		})
	if !passed {
		a.shed(string(v.Quota))
		return l.refuse(a.problem(b.c, tooManyRequests, fmt.Sprintf("Too many %s; try again in %s.", quotaNames[v.Quota], v.Wait.Round(time.Millisecond))))
	}
	return l
}

// unburdened reports whether the intake takes another job. Once it did not for
// longestPause, nothing is waited for until it does.
func (b *batch) unburdened(class job.Class) bool {
	pause := loadPause
	if b.burdened {
		pause = longestPause + 1
	}
	b.burdened = !b.pace(func(at time.Time) time.Duration {
		if b.a.dep.Load.Admit(class, at) {
			return 0
		}
		return pause
	})
	return !b.burdened
}

// pace asks how long the next line has to wait and waits for it, if that is no
// longer than longestPause in all. Who has waited longest gets an answer before.
// It reports whether the line may pass.
func (b *batch) pace(ask func(at time.Time) (wait time.Duration)) bool {
	until := time.Now().Add(longestPause)
	for {
		now := time.Now()
		wait := ask(now)
		if wait <= 0 || now.Add(wait).After(until) {
			return wait <= 0
		}
		if b.commit(b.c.Context()) != nil {
			return false // nobody reads what becomes of the line
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-b.c.Context().Done():
			timer.Stop()
			return false
		}
	}
}

// commit makes the jobs of the group durable and answers its lines.
func (b *batch) commit(ctx context.Context) error {
	if len(b.group) == 0 {
		return nil
	}
	if b.out == nil {
		if b.out = b.c.stream.Begin(&Answer{Status: http.StatusOK, ContentType: contentLines}, -1); b.out == nil {
			return &BodyError{Status: StatusLeft, Public: "The client left."}
		}
	}
	b.mint()
	b.claim(ctx)
	b.publish()
	for _, l := range b.group {
		if err := b.answer(l); err != nil {
			return err
		}
	}
	b.group, b.bytes = b.group[:0], 0
	return nil
}

// mint gives the jobs of the group their ids.
func (b *batch) mint() {
	for _, l := range b.group {
		if l.settled {
			continue
		}
		l.normalize()
		id, err := b.a.dep.Minter.Mint(b.c.Identity.Tenant, time.Now())
		if err != nil {
			l.refuse(b.a.failure(b.c, &job.Error{Op: "api.batch", Kind: job.Internal, Err: err}))
			continue
		}
		l.id = id
		l.at, _ = b.a.dep.Minter.Minted(id, b.c.Identity.Tenant)
	}
}

// claim finds the ids that the lines got when the same batch came before. A line
// whose job has arrived since is settled; others are sent again.
func (b *batch) claim(ctx context.Context) {
	if b.key == "" {
		return
	}
	var claims []store.Claim
	var lines []*batchLine
	for _, l := range b.group {
		if !l.settled {
			claims = append(claims, store.Claim{Key: l.key, Body: l.body, ID: string(l.id)})
			lines = append(lines, l)
		}
	}
	if len(claims) == 0 {
		return
	}
	if err := b.a.dep.Store.ClaimIdempotencyKeys(ctx, b.c.Identity.Tenant, claims); err != nil {
		b.refuseAll(lines, err)
		return
	}
	var again []job.ID
	for i, l := range lines {
		owner := job.ID(claims[i].Owner)
		if owner == l.id {
			continue
		}
		at, ok := b.a.dep.Minter.Minted(owner, b.c.Identity.Tenant)
		if !ok {
			l.refuse(b.a.problem(b.c, keyReused, "This line of a batch with this Idempotency-Key was another one before."))
			continue
		}
		l.id, l.at = owner, at
		again = append(again, owner)
	}
	b.arrived(ctx, lines, again)
}

// arrived settles the lines whose job the scheduler has.
func (b *batch) arrived(ctx context.Context, lines []*batchLine, again []job.ID) {
	if len(again) == 0 {
		return
	}
	found, err := b.a.dep.Store.Versions(ctx, again)
	if err != nil {
		b.refuseAll(lines, err)
		return
	}
	for _, l := range lines {
		if _, ok := found[l.id]; ok {
			l.settled = true
		}
	}
}

func (b *batch) refuseAll(lines []*batchLine, err error) {
	for _, l := range lines {
		l.refuse(b.a.failure(b.c, err))
	}
}

// publish hands the jobs to the intake and waits until it has settled them,
// which it does in bounded time.
func (b *batch) publish() {
	outcomes := make(chan func(), len(b.group)) // one for each job: the committer never waits
	sent := 0
	for _, l := range b.group {
		if l.settled {
			continue
		}
		payload, refusal := l.payload()
		if refusal != nil {
			l.refuse(refusal)
			continue
		}
		err := b.a.dep.Intake.Submit(l.id, payload, func(err error) {
			outcomes <- func() { l.settle(err) }
		})
		if err != nil {
			l.settle(err)
			continue
		}
		sent++
	}
	for range sent {
		(<-outcomes)()
	}
}

func (l *batchLine) settle(err error) {
	l.settled = true
	if err != nil {
		l.refuse(l.a.failure(l.c, err))
	}
}

// answer sends the answer to one line.
func (b *batch) answer(l *batchLine) error {
	answer := lineAnswer{Line: l.n, Status: http.StatusAccepted, ID: l.id}
	if l.refusal != nil {
		answer = lineAnswer{Line: l.n, Status: l.refusal.Status, Problem: l.refusal.Problem}
	}
	if _, err := b.out.Write(encode(&answer)); err != nil {
		return fmt.Errorf("answer line %d: %w", l.n, err)
	}
	return nil
}
