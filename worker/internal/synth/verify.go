package synth

import (
	"context"
	"log/slog"
	"slices"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/worker/internal/deliver"
	"github.com/voicemill/voicemill/worker/internal/engine"
	"github.com/voicemill/voicemill/worker/internal/fleet"
	"github.com/voicemill/voicemill/worker/internal/hear"
	"github.com/voicemill/voicemill/worker/internal/meter"
	"github.com/voicemill/voicemill/worker/internal/store"
)

// Ear hears what was spoken; package hear has the one.
type Ear interface {
	// Hear returns what was heard; its Hearing is nil if no ear was well.
	Hear(ctx context.Context, s hear.Spoken) hear.Heard
	// Chooses reports whether the segment with a rendition key belongs to every sample.
	Chooses(key string) bool
}

const (
	// maxTries is how often a segment is spoken at most because of what is heard.
	maxTries = 3
	// trySeedStep sets the seeds of such tries apart, from those of attempts, too.
	trySeedStep = 104_729
)

// wants reports whether u is to be heard; odd says that the check found it so.
func (c *Caller) wants(u utterance, odd bool) bool {
	switch u.Bundle.Verify {
	case job.VerifyAll:
		return true
	case job.VerifySample:
		return odd || c.deps.Ear != nil && c.deps.Ear.Chooses(u.Segment.RenditionKey)
	case job.VerifyNone:
	}
	return false
}

// verified returns what is to be delivered of u, of which s was spoken: s with what was
// heard of it, or if other words were heard the best of several tries; spent is the
// engine time of the further ones.
func (r *run) verified(ctx context.Context, u utterance, s deliver.Speech, odd bool) (best deliver.Speech, spent float64) {
	if !r.wants(u, odd) {
		return s, 0
	}
	best, heard := s, r.hear(ctx, u, s.Audio)
	tries := 1
	for heard.Doubtful() && u.Bundle.OnDoubt != job.DeliverDoubtful && tries < maxTries && ctx.Err() == nil {
		next, seconds, ok := r.again(ctx, u, tries)
		spent += seconds
		if !ok || slices.Equal(next.Audio.Samples, best.Audio.Samples) { // it would be heard the same
			break
		}
		tries++
		if h := r.hear(ctx, u, next.Audio); h.Better(heard) {
			best, heard = next, h
		}
	}
	if best.Hearing = heard.Hearing; best.Hearing != nil {
		best.Hearing.Tries = tries
	}
	if heard.Doubtful() {
		r.deps.Log.InfoContext(ctx, "a segment is doubtful", slog.String("job_id", string(u.Bundle.JobID)), slog.Int("segment", u.Segment.N),
			slog.String("kind", heard.Kind), slog.String("why", heard.Why), slog.Int("tries", tries))
	}
	return best, spent
}

// again has u spoken with another seed. ok is false if nobody could.
func (r *run) again(ctx context.Context, u utterance, try int) (s deliver.Speech, seconds float64, ok bool) {
	q := u.request
	q.Seed += int64(try) * trySeedStep
	var a fleet.Answer
	r.deps.Fleet.Speak(ctx, []engine.Request{q}, func(_ int, answer fleet.Answer) { a = answer })
	if a.Err != nil {
		return s, a.Seconds, false // what was spoken before is good audio at least
	}
	s, err := r.speechOf(u, a)
	return s, a.Seconds, err == nil
}

// hear has audio, spoken for u, heard.
func (r *run) hear(ctx context.Context, u utterance, audio engine.Audio) hear.Heard {
	if r.deps.Ear == nil {
		r.deps.Meter.Verdict(r.cfg.Pool, meter.Unheard)
		return hear.Heard{}
	}
	return r.deps.Ear.Hear(ctx, hear.Spoken{
		Pool: r.cfg.Pool, Voice: u.Segment.Voice, Language: u.Segment.Language, Text: u.request.Text, Speed: u.Bundle.Speed, Instructions: u.request.Instructions,
		Seconds: u.Segment.PredictedSeconds, Audio: audio,
	})
}

// existing settles a task whose rendition is stored already. If it is to be heard and
// never was, that is made up for; it stays as it is, since other jobs have it, too.
func (r *run) existing(ctx context.Context, t deliver.Task, a store.Answer) {
	if t.Bundle.Verify == job.VerifyAll && !a.Heard && r.deps.Ear != nil {
		if err := r.late(ctx, t, a.Suffix); err != nil {
			r.deps.Log.WarnContext(ctx, "a rendition goes unheard", slog.String("job_id", string(t.Bundle.JobID)), slog.Int("segment", t.Segment.N), slog.String("error", err.Error()))
		}
	}
	r.note(r.deps.Deliver.Existing(ctx, t))
}

// late has the stored rendition of t heard.
func (r *run) late(ctx context.Context, t deliver.Task, suffix string) error {
	req, s, err := request(t)
	if err != nil {
		return err
	}
	audio, err := r.deps.Deliver.Stored(ctx, t, suffix)
	if err != nil {
		return err //nolint:wrapcheck // says what could not be read
	}
	heard := r.hear(ctx, utterance{t, req, s}, audio)
	if heard.Hearing == nil {
		return nil
	}
	return r.deps.Store.PutHearing(ctx, t.Segment.RenditionKey, suffix, *heard.Hearing) //nolint:wrapcheck // likewise
}
