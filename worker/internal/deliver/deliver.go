package deliver

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/blob"
	"github.com/voicemill/voicemill/platform/bus"
	"github.com/voicemill/voicemill/platform/lifecycle"
	"github.com/voicemill/voicemill/platform/wav"
	"github.com/voicemill/voicemill/worker/internal/engine"
	"github.com/voicemill/voicemill/worker/internal/lease"
	"github.com/voicemill/voicemill/worker/internal/loudness"
	"github.com/voicemill/voicemill/worker/internal/store"
)

// Blob is where audio is stored.
type Blob interface {
	// Put stores size bytes of r under key. With IfAbsent an object that is there
	// already stays as it is, and its Info is returned.
	Put(ctx context.Context, key string, r io.Reader, size int64, opt blob.PutOptions) (blob.Info, error)
	// Get opens an object; the caller closes it.
	Get(ctx context.Context, key string, opt blob.GetOptions) (io.ReadCloser, blob.Info, error)
}

// Committer stores outcomes; package commit has the one.
type Committer interface {
	// Submit stores o and reports whether it counted.
	Submit(ctx context.Context, o store.Outcome) (applied bool, err error)
}

// Config says how failures are waited for and charged.
type Config struct {
	Hold     time.Duration // how long a bucket that is away is waited for
	Attempts int           // tries of one segment before it has failed
	Delay    time.Duration // before the second attempt; doubles with each
}

// Validate reports the first setting that makes no sense.
func (c Config) Validate() error {
	if c.Hold <= 0 || c.Delay <= 0 || c.Attempts < 1 {
		return fmt.Errorf("deliver: hold %s and delay %s must be positive, attempts (%d) at least 1", c.Hold, c.Delay, c.Attempts)
	}
	return nil
}

// Deliverer makes outcomes durable. It is safe for concurrent use.
type Deliverer struct {
	cfg    Config
	blob   Blob
	commit Committer
	going  func(ctx context.Context, object string) (bool, error)
	random io.Reader
	log    *slog.Logger
}

// Deps are the parts that a Deliverer works with.
type Deps struct {
	Blob   Blob
	Commit Committer
	// Going reports whether an object is about to be deleted.
	Going  func(ctx context.Context, object string) (bool, error)
	Random io.Reader // for object keys that nobody used before; safe for concurrent use
	Log    *slog.Logger
}

// New returns a Deliverer.
func New(cfg Config, deps Deps) *Deliverer {
	return &Deliverer{cfg: cfg, blob: deps.Blob, commit: deps.Commit, going: deps.Going, random: deps.Random, log: deps.Log}
}

// Task is one segment of a bundle.
type Task struct {
	Bundle     *bus.Bundle
	Segment    bus.Segment
	Lease      *lease.Part
	GPUSeconds float64 // engine time spent on this attempt
}

func (t Task) outcome(state job.SegmentState) store.Outcome {
	return store.Outcome{
		Ref: store.RefOf(*t.Bundle), Segment: t.Segment.N, Chapter: t.Segment.Chapter, Key: t.Segment.RenditionKey,
		Seconds: t.Segment.PredictedSeconds, State: state, GPUSeconds: t.GPUSeconds, Tenant: t.Bundle.Tenant, Class: t.Bundle.Class, Pool: t.Bundle.Pool,
	}
}

// Speech is what an engine said for a task, judged good.
type Speech struct {
	Audio     engine.Audio
	Sentences []engine.Mark
	Words     []engine.Mark
	Placed    bool         // whether Words were spread in proportion
	Verdict   string       // what the judge had to remark; empty if nothing
	Hearing   *job.Hearing // nil if it was not heard
}

// Speech stores s and settles the task. An error is Unavailable: something it
// needs stayed away, and the message was given back.
func (d *Deliverer) Speech(ctx context.Context, t Task, s Speech) error {
	r, err := d.keep(ctx, t, s)
	if err != nil {
		_ = t.Lease.Nak() // else it comes again after the ack wait
		return fmt.Errorf("store rendition %s: %w", t.Segment.RenditionKey, err)
	}
	o := t.outcome(job.SegmentDone)
	o.Rendition = &r
	return d.settle(ctx, t, o)
}

// Existing settles a task whose rendition is stored already.
func (d *Deliverer) Existing(ctx context.Context, t Task) error {
	return d.settle(ctx, t, t.outcome(job.SegmentDone))
}

// maxStored bounds the samples of a rendition that is read back: five minutes at 192 kHz.
const maxStored = 300 * 192_000

// Stored returns the audio of a task whose rendition is stored already.
func (d *Deliverer) Stored(ctx context.Context, t Task, suffix string) (engine.Audio, error) {
	body, _, err := d.blob.Get(ctx, store.ObjectKey(t.Bundle.Tenant, t.Segment.RenditionKey, suffix), blob.GetOptions{})
	if err != nil {
		return engine.Audio{}, err
	}
	rate, samples, err := wav.Decode(body, maxStored)
	if err = errors.Join(err, body.Close()); err != nil {
		return engine.Audio{}, fmt.Errorf("read rendition %s: %w", t.Segment.RenditionKey, err)
	}
	return engine.Audio{Rate: rate, Samples: samples}, nil
}

// Failure charges a failed attempt: the segment is tried again later while
// attempts are left, unless cause says that no other will do better.
func (d *Deliverer) Failure(ctx context.Context, t Task, cause error) error {
	o := t.outcome(job.SegmentPending)
	o.ErrorKind = job.KindOf(cause)
	o.ErrorDetail = job.PublicOf(cause, "The engine could not speak this text.")
	o.DelaySeconds = d.delay(t.Bundle.Charged()).Seconds()
	if t.Bundle.Charged() >= d.cfg.Attempts || o.ErrorKind == job.Invalid || errors.Is(cause, engine.ErrPoison) {
		o.State = job.SegmentFailed
	}
	d.log.WarnContext(ctx, "an attempt failed", slog.String("job_id", string(t.Bundle.JobID)), slog.Int("segment", t.Segment.N),
		slog.Int("attempt", t.Bundle.Attempt), slog.String("state", string(o.State)), slog.String("error", cause.Error()))
	return d.settle(ctx, t, o)
}

// Later lets a segment come again after a while, uncharged: cause is nobody's fault
// whom waiting would not help.
func (d *Deliverer) Later(ctx context.Context, t Task, cause error) error {
	o := t.outcome(store.Died)
	o.ErrorKind, o.ErrorDetail, o.DelaySeconds = job.KindOf(cause), sayLater, laterDelay.Seconds()
	d.log.WarnContext(ctx, "a segment waits", slog.String("job_id", string(t.Bundle.JobID)), slog.Int("segment", t.Segment.N), slog.String("error", cause.Error()))
	return d.settle(ctx, t, o)
}

// Died lets a segment come again alone, uncharged: its workers died.
func (d *Deliverer) Died(ctx context.Context, t Task) error {
	o := t.outcome(store.Died)
	o.ErrorKind, o.ErrorDetail, o.DelaySeconds = job.Engine, sayDied, isolation.Seconds()
	d.log.WarnContext(ctx, "a segment is to run alone: workers died with its bundle", slog.String("job_id", string(t.Bundle.JobID)), slog.Int("segment", t.Segment.N))
	return d.settle(ctx, t, o)
}

// Guilty fails a segment that ended its workers while it was alone.
func (d *Deliverer) Guilty(ctx context.Context, t Task) error {
	o := t.outcome(job.SegmentFailed)
	o.ErrorKind, o.ErrorDetail = job.Engine, sayGuilty
	d.log.ErrorContext(ctx, "a segment ended its worker", slog.String("job_id", string(t.Bundle.JobID)), slog.Int("segment", t.Segment.N))
	return d.settle(ctx, t, o)
}

const (
	sayLater  = "The engine refuses the voice."
	sayDied   = "The speech worker ended while it had this text."
	sayGuilty = "The text ended the speech worker twice."
	// What runs alone has the subject of its old bundle, whose message must be gone by then.
	isolation  = time.Second
	laterDelay = 30 * time.Second
)

// delay is a second times two to the attempt, give or take a quarter.
func (d *Deliverer) delay(attempt int) time.Duration {
	pause := d.cfg.Delay << min(attempt, 10)
	return pause*3/4 + rand.N(pause/2+1)
}

// settle commits o, then acknowledges. What did not count was settled before,
// or is not wanted any more; only if it lacks its rendition it is given back.
func (d *Deliverer) settle(ctx context.Context, t Task, o store.Outcome) error {
	applied, err := d.commit.Submit(ctx, o)
	if err != nil && !job.Retryable(err) && o.State != job.SegmentFailed {
		d.log.ErrorContext(ctx, "the database refused an outcome", slog.String("job_id", string(t.Bundle.JobID)), slog.Int("segment", o.Segment), slog.String("error", err.Error()))
		o = t.outcome(job.SegmentFailed)
		o.ErrorKind, o.ErrorDetail = job.Internal, "The result could not be stored."
		applied, err = d.commit.Submit(ctx, o)
	}
	if err != nil {
		_ = t.Lease.Nak() // else it comes again after the ack wait
		return &job.Error{Op: "deliver.settle", JobID: t.Bundle.JobID, Kind: job.Unavailable, Err: err}
	}
	if !applied && o.State == job.SegmentDone && o.Rendition == nil {
		_ = t.Lease.Nak() // likewise
		return nil
	}
	if err := t.Lease.Ack(ctx); err != nil {
		d.log.DebugContext(ctx, "a message that is done will come again", slog.String("error", err.Error()))
	}
	return nil
}

// keep stores the WAV of s and describes it.
func (d *Deliverer) keep(ctx context.Context, t Task, s Speech) (store.Rendition, error) {
	file := func() *wav.File { return wav.NewFile(s.Audio.Rate, s.Audio.Samples) }
	r := store.Rendition{
		Key: t.Segment.RenditionKey, Tenant: t.Bundle.Tenant, SampleRate: s.Audio.Rate,
		Samples: int64(len(s.Audio.Samples)), Bytes: file().Size(), Verdict: s.Verdict, Hearing: s.Hearing,
	}
	h := sha256.New()
	if _, err := io.Copy(h, file()); err != nil {
		return r, err
	}
	r.SHA256 = h.Sum(nil)
	r.Sound = store.SoundOf(loudness.Of(s.Audio.Samples, s.Audio.Rate))
	var err error
	if r.Marks, err = encodeMarks(s); err != nil {
		return r, err
	}
	r.Suffix, err = d.put(ctx, r, file)
	return r, err
}

// put stores the WAV of r and returns the suffix of its object's name. Objects
// never change: if another worker stored other audio for the same rendition and
// died before it committed, or what it stored is damaged or about to be deleted,
// ours goes beside it.
func (d *Deliverer) put(ctx context.Context, r store.Rendition, file func() *wav.File) (suffix string, err error) {
	err = d.waiting(ctx, func() error {
		suffix = ""
		object := store.ObjectKey(r.Tenant, r.Key, "")
		info, err := d.blob.Put(ctx, object, file(), r.Bytes, blob.PutOptions{ContentType: "audio/wav", IfAbsent: true})
		if err != nil || !info.Existed {
			return err
		}
		usable, err := d.usable(ctx, info, r.SHA256)
		if err != nil || usable {
			return err
		}
		if suffix, err = job.NewToken("-", d.random); err != nil {
			return err
		}
		object = store.ObjectKey(r.Tenant, r.Key, suffix)
		_, err = d.blob.Put(ctx, object, file(), r.Bytes, blob.PutOptions{ContentType: "audio/wav"})
		return err
	})
	return suffix, err
}

// usable reports whether a row may name the object of info for audio with the
// digest sum. What nobody is about to delete when it was read, nobody deletes
// before our row is there: see docs/retention.md.
func (d *Deliverer) usable(ctx context.Context, info blob.Info, sum []byte) (bool, error) {
	same, err := d.holds(ctx, info, sum)
	if err != nil || !same {
		return false, err
	}
	going, err := d.going(ctx, info.Key)
	return !going, err
}

// holds reports whether the object of info has the digest sum.
func (d *Deliverer) holds(ctx context.Context, info blob.Info, sum []byte) (bool, error) {
	body, _, err := d.blob.Get(ctx, info.Key, blob.GetOptions{})
	if job.KindOf(err) == job.NotFound {
		return false, nil // it was there a moment ago; ours goes beside it
	}
	if err != nil {
		return false, err
	}
	h := sha256.New()
	_, err = io.Copy(h, body)
	if err = errors.Join(err, body.Close()); err != nil {
		return false, fmt.Errorf("read %s back: %w", info.Key, err)
	}
	return bytes.Equal(h.Sum(nil), sum), nil
}

// waiting does f again until it goes well, the hold is over or ctx is done.
func (d *Deliverer) waiting(ctx context.Context, f func() error) error {
	begun := time.Now()
	for pause := 100 * time.Millisecond; ; pause = min(2*pause, 2*time.Second) {
		err := f()
		if err == nil {
			return nil
		}
		if time.Since(begun) > d.cfg.Hold || ctx.Err() != nil {
			return &job.Error{Op: "deliver.put", Kind: job.Unavailable, Err: err}
		}
		d.log.WarnContext(ctx, "audio waits for the bucket", slog.String("error", err.Error()))
		lifecycle.Sleep(ctx, pause/2+rand.N(pause))
	}
}

// wordsByProportion says of words that their times are no measurement.
const wordsByProportion = "proportion"

// encodeMarks writes [start, end, sample] triples, nil if there are none.
func encodeMarks(s Speech) (json.RawMessage, error) {
	if len(s.Sentences) == 0 && len(s.Words) == 0 {
		return nil, nil
	}
	by := ""
	if s.Placed && len(s.Words) > 0 {
		by = wordsByProportion
	}
	return json.Marshal(struct {
		Sentences [][3]int64 `json:"sentences"`
		Words     [][3]int64 `json:"words"`
		WordsBy   string     `json:"words_by,omitempty"`
	}{triples(s.Sentences), triples(s.Words), by})
}

func triples(marks []engine.Mark) [][3]int64 {
	out := make([][3]int64, len(marks))
	for i, m := range marks {
		out[i] = [3]int64{int64(m.Start), int64(m.End), m.Sample}
	}
	return out
}
