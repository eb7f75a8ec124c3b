package store

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/bus"
	"github.com/voicemill/voicemill/platform/pg"
)

// Owner is what the loop must know of the job that work belongs to.
type Owner struct {
	ID         job.ID
	Num        int64
	Tenant     job.Tenant
	Weight     float64 // of the tenant; 1 is normal
	Class      job.Class
	Priority   int
	Deadline   *time.Time
	AcceptedAt time.Time
}

// Queue is what of a job has not been released for the first time in one pool.
type Queue struct {
	Owner
	Pool    string
	Next    int     // the first position that was not released
	Seconds float64 // predicted audio from there on
	Total   int     // segments of the job, of all pools
	Queued  bool    // nothing of the job was released yet
}

// QueuesAfter returns a page of the open queues, by job and pool.
func (s *Store) QueuesAfter(ctx context.Context, num int64, pool string, limit int) ([]Queue, error) {
	return s.queues(ctx, "QueuesAfter", num, pool, limit)
}

// QueuesOf returns the open queues of some jobs.
func (s *Store) QueuesOf(ctx context.Context, ids []job.ID) ([]Queue, error) {
	return s.queues(ctx, "QueuesOf", texts(ids))
}

func (s *Store) queues(ctx context.Context, query string, args ...any) ([]Queue, error) {
	return collect(ctx, s, query, args, func(r pgx.CollectableRow) (q Queue, err error) {
		err = r.Scan(&q.Num, &q.Pool, &q.Next, &q.Seconds, &q.ID, &q.Tenant, &q.Weight, &q.Class, &q.Priority, &q.Deadline,
			&q.AcceptedAt, &q.Total, &q.Queued)
		return q, err
	})
}

// Retry is one segment that is due again.
type Retry struct {
	Owner
	Pool             string
	N                int
	Attempts, Spared int // made, and of these what is not charged
	Deaths           int
	Solo             bool
	NotBefore        time.Time
	Seconds          float64 // predicted audio
	Key              [32]byte
}

// RetriesAfter returns a page of the segments that are due again, by
// (NotBefore, Num, N), from after the given one on; the zero Retry is before all.
func (s *Store) RetriesAfter(ctx context.Context, after Retry, limit int) ([]Retry, error) {
	return collect(ctx, s, "RetriesAfter", []any{after.NotBefore, after.Num, after.N, limit}, scanRetry)
}

// RetriesOf returns up to limit segments of some jobs that are due again.
func (s *Store) RetriesOf(ctx context.Context, nums []int64, limit int) ([]Retry, error) {
	return collect(ctx, s, "RetriesOf", []any{nums, limit}, scanRetry)
}

func scanRetry(r pgx.CollectableRow) (q Retry, err error) {
	var key []byte
	err = r.Scan(&q.Num, &q.N, &q.Pool, &q.Attempts, &q.Spared, &q.Deaths, &q.Solo, &q.NotBefore, &q.Seconds, &key, &q.ID, &q.Tenant,
		&q.Weight, &q.Class, &q.Priority, &q.Deadline, &q.AcceptedAt)
	copy(q.Key[:], key)
	return q, err
}

// BlockID names a block of a job: segments 64*B+1 to 64*B+64.
type BlockID struct {
	Job int64
	B   int
}

// BlockOf returns the block that segment n of a job is in.
func BlockOf(num int64, n int) BlockID { return BlockID{num, (n - 1) / bus.BlockSegments} }

// Block is up to 64 segments of a job in reading order.
type Block struct {
	BlockID
	Segments []bus.Segment
	Keys     [][32]byte // of the renditions
	Pools    []string
	Turns    []byte        // of each segment: its place in the order of release
	Reused   uint64        // bit i: Segments[i] needs no release
	Seeds    map[int]int64 // by segment index: of what its owner wanted with another than the job's
	Bytes    int           // about how much memory it takes
}

// Blocks returns the blocks with these names; one that does not exist is left out.
func (s *Store) Blocks(ctx context.Context, ids []BlockID) ([]*Block, error) {
	nums, bs := make([]int64, len(ids)), make([]int32, len(ids))
	for i, id := range ids {
		nums[i], bs[i] = id.Job, int32(id.B) //nolint:gosec // bounded by job.Limits
	}
	return collect(ctx, s, "Blocks", []any{nums, bs}, scanBlock)
}

// scanBlock reads a row of blocks.
func scanBlock(r pgx.CollectableRow) (*Block, error) {
	b := &Block{}
	var chapters, rates []int32
	var words, voices, languages, instructions, breaks []string
	var pronunciations *string
	var seconds []float32
	var keys []byte
	var reused int64
	var redos []redo
	err := r.Scan(&b.Job, &b.B, &chapters, &words, &voices, &languages, &b.Pools, &pronunciations, &instructions, &breaks, &seconds, &rates,
		&keys, &b.Turns, &reused, &redos)
	if err != nil {
		return nil, err
	}
	said := make([]json.RawMessage, len(words))
	if pronunciations != nil {
		if err := json.Unmarshal([]byte(*pronunciations), &said); err != nil || len(said) != len(words) {
			return nil, fmt.Errorf("pronunciations of block %d of job %d: %d for %d segments: %w", b.B, b.Job, len(said), len(words), err)
		}
	}
	b.Reused = uint64(reused) //nolint:gosec // a bit set
	b.Segments, b.Keys = make([]bus.Segment, len(words)), make([][32]byte, len(words))
	for i := range words {
		b.Keys[i] = [32]byte(keys[32*i : 32*i+32])
		if string(said[i]) == "null" {
			said[i] = nil
		}
		b.Segments[i] = bus.Segment{
			N: bus.BlockSegments*b.B + i + 1, Chapter: int(chapters[i]), Voice: voices[i], Language: languages[i], Text: words[i],
			Pronunciations: said[i], PredictedSeconds: float64(seconds[i]), SampleRate: int(rates[i]), RenditionKey: hex.EncodeToString(b.Keys[i][:]),
		}
		if instructions != nil {
			b.Segments[i].Instructions = instructions[i]
		}
		b.Bytes += segmentBytes(&b.Segments[i])
	}
	for _, d := range redos {
		d.apply(b)
	}
	return b, nil
}

// segmentBytes returns about how much memory a segment takes.
func segmentBytes(g *bus.Segment) int {
	return 400 + len(g.Text) + len(g.Pronunciations) + len(g.Instructions)
}

// redo is how a segment is spoken that its owner wanted otherwise than planned.
type redo struct {
	N      int     `json:"n"`
	Seed   *int64  `json:"seed"`
	Spoken *string `json:"spoken"`
}

func (d *redo) apply(b *Block) {
	i := (d.N - 1) % bus.BlockSegments
	if d.Seed != nil {
		if b.Seeds == nil {
			b.Seeds = map[int]int64{}
		}
		b.Seeds[i] = *d.Seed
	}
	if d.Spoken != nil {
		b.Segments[i].Text, b.Segments[i].Pronunciations = *d.Spoken, nil
	}
}

// Terms are what all segments of a job have in common.
type Terms struct {
	Speed        float64
	Seed         int64
	Instructions string        // of segments without their own
	Callback     *job.Callback // nil for none
	Verify       job.Verify    // empty for none
	OnDoubt      job.OnDoubt
}

// Terms returns the terms of jobs.
func (s *Store) Terms(ctx context.Context, nums []int64) (map[int64]Terms, error) {
	type row struct {
		num int64
		Terms
	}
	rows, err := collect(ctx, s, "Terms", []any{nums}, func(r pgx.CollectableRow) (t row, err error) {
		err = r.Scan(&t.num, &t.Speed, &t.Seed, &t.Instructions, &t.Callback, &t.Verify, &t.OnDoubt)
		return t, err
	})
	if err != nil {
		return nil, err
	}
	out := make(map[int64]Terms, len(rows))
	for _, r := range rows {
		out[r.num] = r.Terms
	}
	return out, nil
}

// VirtualTime is how far a tenant was served in a pool and class; the one with
// the empty tenant is the system's.
type VirtualTime struct {
	Pool   string
	Class  job.Class
	Tenant job.Tenant
	Value  float64
}

// VirtualTimes returns what was saved.
func (s *Store) VirtualTimes(ctx context.Context) ([]VirtualTime, error) {
	return collect(ctx, s, "VirtualTimes", nil, pgx.RowToStructByPos[VirtualTime])
}

func collect[T any](ctx context.Context, s *Store, query string, args []any, scan pgx.RowToFunc[T]) ([]T, error) {
	rows, err := s.pool.Query(ctx, s.q.Get(query), args...)
	if err != nil {
		return nil, pg.Classify(err)
	}
	out, err := pgx.CollectRows(rows, scan)
	return out, pg.Classify(err)
}
