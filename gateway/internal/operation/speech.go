package operation

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"strings"
	"time"

	"github.com/voicemill/voicemill/gateway/internal/playback"
	"github.com/voicemill/voicemill/gateway/internal/watch"
	"github.com/voicemill/voicemill/job"
)

// SpeechRequest asks for the sound of a text, as OpenAI's API has it.
type SpeechRequest struct {
	Model          string          `json:"model"`
	Input          string          `json:"input"`
	Voice          json.RawMessage `json:"voice"` // a name, or an object with the member id
	ResponseFormat string          `json:"response_format"`
	Speed          *float64        `json:"speed"`
	Instructions   string          `json:"instructions"`
	StreamFormat   string          `json:"stream_format"`
}

// SpeechOutlet begins an answer with sound of that media type, which the job of that
// id has.
type SpeechOutlet func(media string, id job.ID) (Outlet, error)

// Outlet is the body of an answer on its way. One goroutine uses it.
type Outlet interface {
	// Write waits while much waits for the client. It fails once the client is gone.
	io.Writer
	// End completes the body. With an error it cuts the connection instead, so that
	// the client does not take what it got for the whole.
	End(err error)
}

// speech is the sound of a text on its way: an interactive job whose audio is the
// answer. A client that leaves takes the job with it, unless it may come again with
// its Idempotency-Key.
type speech struct {
	o      *Operations
	c      *Caller
	id     job.ID
	format string
	media  string
	speed  float64
	spec   job.Spec
	faults job.Faults
	code   string // of OpenAI's API, for the first fault
	player *playback.Player
}

// Speak answers with the sound of a text. It returns nil once the answer has begun;
// how that ended the outlet is told.
func (o *Operations) Speak(ctx context.Context, c *Caller, r *SpeechRequest, shape job.Faults, once *Once, begin SpeechOutlet) error {
	s := &speech{o: o, c: c, speed: 1}
	if shape.Any() {
		return refuseShape(shape)
	}
	if err := o.ready(ctx); err != nil {
		return err
	}
	if err := s.read(ctx, r); err != nil {
		return err
	}
	if s.faults.Any() {
		return s.refusal()
	}
	if err := o.admitJob(c, &s.spec); err != nil {
		return err
	}
	release, err := o.occupy(c) // until the first sound
	if err != nil {
		return err
	}
	waits := true
	defer func() {
		if waits {
			release()
		}
	}()
	own, err := o.own(ctx, c, once)
	if err != nil {
		return err
	}
	s.id = own.id
	keep := once.Given // others may ask for a job that has a key, or hear it already
	defer func() {
		if !keep {
			s.abandon(ctx)
		}
	}()
	s.player = playback.New(playback.Config{Store: o.dep.Store, Bucket: o.dep.Bucket, Tenant: c.Tenant, Job: s.id})
	defer s.player.Close()
	if !own.arrived {
		if err := o.commit(ctx, c, own, &s.spec, source{}); err != nil {
			return err
		}
	}
	first, err := s.first(ctx, !own.arrived)
	if err != nil {
		return s.unspoken(err)
	}
	release()
	waits = false
	return s.answer(ctx, first, begin, &keep)
}

// first waits for the first segment. Of a job that is new it does not look for it before.
func (s *speech) first(ctx context.Context, fresh bool) (first playback.Segment, err error) {
	until := s.c.Started.Add(s.o.cfg.MaxWait)
	for ; ; fresh = false {
		if !fresh {
			if first, err = s.player.Ready(ctx); !errors.Is(err, playback.ErrNotYet) {
				return first, err
			}
		}
		if !time.Now().Before(until) {
			return first, &job.Error{Op: "operation.Speak", JobID: s.id, Kind: job.Unavailable, Public: "The text could not be spoken in time; try again later.", Err: errSlow}
		}
		s.player.Rest()
		if err := s.o.hold(ctx, watch.Waiter{Job: s.id, Tenant: s.c.Tenant, Known: s.player.Version(), Settled: true, Until: until}); err != nil {
			return first, err
		}
	}
}

var errSlow = errors.New("operation: the first segment was not rendered in time")

// unspoken says that there will be no sound.
func (s *speech) unspoken(err error) error {
	if job.KindOf(err) != job.Invalid {
		return err
	}
	// The scheduler found that the text cannot be spoken.
	s.fault("input", codeValue, "%s", strings.TrimSuffix(job.PublicOf(err, "cannot be spoken"), "."))
	return s.refusal()
}

// answer answers with the sound, as fast as the client takes it.
func (s *speech) answer(ctx context.Context, first playback.Segment, begin SpeechOutlet, keep *bool) error {
	v, err := s.voice(ctx, first)
	if err != nil {
		return err
	}
	defer v.close()
	s.o.speaking.Add(1)
	defer s.o.speaking.Add(-1)
	out, err := begin(s.media, s.id)
	if err != nil {
		return err
	}
	err = errPanic // unless it gets to its end
	defer func() { out.End(err) }()
	if err = v.pour(ctx, out); err == nil {
		*keep = true // it was heard whole
	}
	return nil
}

// Speaking returns how many speeches are on their way to their clients.
func (o *Operations) Speaking() int { return int(o.speaking.Load()) }

// abandon ends the job, because nobody hears it.
func (s *speech) abandon(ctx context.Context) {
	if err := s.o.cancel(ctx, s.c.Tenant, s.id); err != nil { // then it is rendered for nobody, and its renditions are reused
		s.o.dep.Log.LogAttrs(ctx, slog.LevelInfo, "speech that nobody hears not cancelled", slog.String("job_id", string(s.id)), slog.Any("error", err))
	}
}
