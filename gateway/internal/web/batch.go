package web

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/voicemill/voicemill/gateway/internal/inflate"
	"github.com/voicemill/voicemill/gateway/internal/operation"
	"github.com/voicemill/voicemill/gateway/internal/problem"
	"github.com/voicemill/voicemill/gateway/internal/strictjson"
	"github.com/voicemill/voicemill/job"
)

const (
	contentLines = "application/x-ndjson"

	batchLines = 256       // lines that become durable together
	batchBytes = 512 << 10 // bytes of such lines, about
	batchRead  = 64 << 10  // read at a time
)

// batch is one POST /v1/jobs:batch: lines are read while they arrive and become
// durable in groups, each of them as many as have arrived, so that a client that
// waits for an answer before it goes on gets it. What is in memory is one group.
type batch struct {
	c    *Call
	jobs *operation.Batch
	in   *bufio.Reader
	out  *outlet // nil until the first answer
	key  string  // what the keys of the lines begin with; empty without an Idempotency-Key

	n     int    // lines so far
	long  []byte // a line that is longer than what is read at a time
	first int    // line of the group
	group []*operation.Entry
	bytes int // of the lines of the group
}

// lineAnswer is one line of the answer.
type lineAnswer struct {
	Line    int               `json:"line"`
	Status  int               `json:"status"`
	ID      job.ID            `json:"id,omitempty"`
	Problem *problem.Document `json:"problem,omitempty"`
}

var errTooManyLines = errors.New("web: too many lines")

func submitBatch(ctx context.Context, c *Call) (*Answer, error) {
	if !c.sends(contentLines) {
		return nil, problem.New(problem.MediaType, "Send the jobs as Content-Type: "+contentLines+", one a line.")
	}
	b := &batch{c: c}
	if key := c.Header("idempotency-key"); key != nil {
		once := operation.Once{Given: true, Key: string(key)}
		if err := once.Check(); err != nil {
			return nil, err
		}
		sum := sha256.Sum256(key)
		b.key = "batch:" + base64.RawURLEncoding.EncodeToString(sum[:]) + ":"
	}
	body, err := c.batchBody()
	if err != nil {
		return nil, err
	}
	b.in = bufio.NewReaderSize(body, batchRead)
	if b.jobs, err = c.s.ops.Batch(ctx, &c.caller, func() error { return b.commit(ctx) }); err != nil {
		return nil, err
	}
	return nil, b.run(ctx)
}

// batchBody returns the body of a batch, unpacked.
func (c *Call) batchBody() (io.Reader, error) {
	switch enc := strings.ToLower(string(c.Header("content-encoding"))); enc {
	case "", "identity":
		return c.reader(), nil
	case "gzip":
		l := inflate.DefaultLimits()
		l.Bytes = int64(c.s.cfg.BatchLines) * int64(c.s.cfg.BodyBytes)
		return inflate.NewReader(c.reader(), l), nil
	}
	return nil, problem.New(problem.MediaType, "Send the lines as they are or with Content-Encoding: gzip.")
}

// run takes every line. Its error is for a client that has had no answer yet; any
// other sees the end of what it gets.
func (b *batch) run(ctx context.Context) error {
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
			err = problem.New(problem.BadRequest, "The body has no line.")
		}
	}
	if end = err; errors.Is(err, errTooManyLines) {
		end = nil // the last line of the answer says so
	}
	return unpacking(err)
}

// lines takes line after line. It returns io.EOF after the last.
func (b *batch) lines(ctx context.Context) error {
	for {
		line, err := b.next()
		if err != nil && (!errors.Is(err, io.EOF) || len(line) == 0 && b.long == nil) {
			return err
		}
		b.n++
		if most := b.c.s.cfg.BatchLines; b.n > most {
			if err := b.commit(ctx); err != nil {
				return err
			}
			tooMany := problem.Newf(problem.TooManyLines, "A batch has at most %d lines; send the rest in another one.", most)
			return errors.Join(errTooManyLines, b.answer(b.n, &operation.Entry{Err: tooMany}))
		}
		entry := &operation.Entry{}
		if entry.Err = b.read(line, entry); entry.Err == nil {
			entry.Err = b.jobs.Check(ctx, entry)
		}
		if len(b.group) == 0 {
			b.first = b.n
		}
		b.group = append(b.group, entry)
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
		if len(b.long) <= b.c.s.cfg.BodyBytes {
			b.long = append(b.long, part...)
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		return bytes.TrimSuffix(b.long, []byte{'\n'}), err
	}
}

// read makes a job of a line, or says what is wrong with it.
func (b *batch) read(line []byte, e *operation.Entry) error {
	line = bytes.TrimSuffix(line, []byte{'\r'})
	switch most := b.c.s.cfg.BodyBytes; {
	case len(line) > most:
		return problem.Newf(problem.TooLarge, "The line has more than %d bytes. Upload the text instead.", most)
	case len(bytes.TrimSpace(line)) == 0:
		return problem.New(problem.NotJSON, "The line is empty.")
	}
	if b.key != "" {
		e.Once = operation.Once{
			Given: true, Key: b.key + strconv.Itoa(b.n), Request: sha256.Sum256(slices.Concat([]byte(b.c.route.pattern+"\n"), line)),
		}
	}
	var err error
	e.Faults, err = b.c.s.specs.Decode(line, &e.Spec)
	if syntax, ok := errors.AsType[*strictjson.SyntaxError](err); ok {
		return problem.New(problem.NotJSON, "The line is "+syntax.Error()+".")
	}
	return nil
}

// commit makes the jobs of the group durable and answers its lines.
func (b *batch) commit(ctx context.Context) error {
	if len(b.group) == 0 {
		return nil
	}
	if b.out == nil {
		if b.out = b.c.Begin(&Answer{Status: http.StatusOK, ContentType: contentLines}, -1); b.out == nil {
			return errLeft
		}
	}
	b.jobs.Commit(ctx, b.group)
	for i, e := range b.group {
		if err := b.answer(b.first+i, e); err != nil {
			return err
		}
	}
	b.group, b.bytes = b.group[:0], 0
	return nil
}

// answer sends the answer to one line.
func (b *batch) answer(line int, e *operation.Entry) error {
	answer := lineAnswer{Line: line, Status: http.StatusAccepted, ID: e.ID}
	if e.Err != nil {
		p := b.c.s.ops.Problem(e.Err)
		answer = lineAnswer{Line: line, Status: p.StatusCode(), Problem: p.Document(b.c.caller.RequestID)}
	}
	if _, err := b.out.Write(encode(&answer)); err != nil {
		return fmt.Errorf("answer line %d: %w", line, err)
	}
	return nil
}
