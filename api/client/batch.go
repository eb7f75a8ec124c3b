package client

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/voicemill/voicemill/api/client/openapi"
	"github.com/voicemill/voicemill/job"
)

// BatchLine is what became of one line of a batch.
type BatchLine struct {
	Line    int      `json:"line"`
	Status  int      `json:"status"` // as of a request with this line alone
	ID      job.ID   `json:"id,omitempty"`
	Problem *Problem `json:"problem,omitempty"` // nil: the job is durable
}

// maxBatchLine is more than one line of an answer has.
const maxBatchLine = 1 << 20

// SubmitBatch hands in many jobs: size bytes of lines, each a job.Spec as JSON, at
// most 10,000. each is called for every line in order, once, as soon as its job
// is durable or refused; an error of it ends the batch. After a cut all is sent
// again with the same key, which changes nothing for the lines that have been
// answered. Of o only the key is used.
func (c *Client) SubmitBatch(ctx context.Context, lines io.ReaderAt, size int64, o SubmitOptions, each func(BatchLine) error) error {
	key := o.IdempotencyKey
	if key == "" {
		var err error
		if key, err = newKey(); err != nil {
			return err
		}
	}
	told := 0 // lines
	for try := 1; ; try++ {
		before := told
		err := c.batch(ctx, io.NewSectionReader(lines, 0, size), key, &told, each)
		if told > before {
			try = 1 // it moves
		}
		if err == nil || try >= c.tries || !again(err) || ctx.Err() != nil {
			return err
		}
		if stop := sleep(ctx, pause(err, try)); stop != nil {
			return errors.Join(stop, err)
		}
	}
}

func (c *Client) batch(ctx context.Context, lines io.Reader, key string, told *int, each func(BatchLine) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // who still sends is not heard any more
	resp, err := c.api.SubmitBatchWithBody(ctx, &openapi.SubmitBatchParams{IdempotencyKey: &key}, "application/x-ndjson", lines)
	if err != nil {
		return fmt.Errorf("cannot reach %s: %w", c.host, err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return problemOf(resp)
	}
	in := bufio.NewScanner(resp.Body)
	in.Buffer(nil, maxBatchLine)
	for in.Scan() {
		var l BatchLine
		if err := json.Unmarshal(in.Bytes(), &l); err != nil {
			return fmt.Errorf("read the answer of %s: %w", c.host, err)
		}
		if l.Line <= *told {
			continue
		}
		*told = l.Line
		if err := each(l); err != nil {
			return err
		}
	}
	if err := in.Err(); err != nil {
		return fmt.Errorf("read the answer of %s: %w", c.host, err)
	}
	return nil
}
