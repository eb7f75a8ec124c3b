package fleet

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/worker/internal/check"
	"github.com/voicemill/voicemill/worker/internal/engine"
)

var errCallTimeout = errors.New("the engine gave no answer in the time that its work could take")

// maxRounds is how often one text is tried, uncharged, before it is given back.
const maxRounds = 8

// Answer is what came of one text. An Err of kind Unavailable or Overloaded is not
// the text's fault; any other is.
type Answer struct {
	engine.Result
	Verdict check.Verdict // of Audio
	Seconds float64       // engine time of the last call, as far as it was for this text
}

// item is a text on its way.
type item struct {
	index  int
	r      engine.Request
	trial  trial
	m      *member // where it failed last
	failed uint64  // calls that m had begun when it failed there
	before uint64  // and when it failed there before
	answer Answer  // of the last call
}

// speech is one Speak.
type speech struct {
	f    *Fleet
	done func(int, Answer)
}

// Speak has every text of batch spoken and calls done once for each, as they come,
// from several goroutines. It returns when all are done: in bounded time while the
// pool waits, and at once when ctx is done.
func (f *Fleet) Speak(ctx context.Context, batch []engine.Request, done func(index int, a Answer)) {
	s := &speech{f: f, done: done}
	size := max(1, f.members[0].info.MaxBatch)
	var calls sync.WaitGroup
	for from := 0; from < len(batch); from += size {
		var items []*item
		for i := from; i < min(from+size, len(batch)); i++ {
			items = append(items, &item{index: i, r: batch[i]})
		}
		calls.Go(func() { s.run(ctx, items) })
	}
	calls.Wait()
}

// run has items spoken: together what is under no suspicion, the rest alone.
func (s *speech) run(ctx context.Context, items []*item) {
	var company []*item
	for _, it := range items {
		s.f.mu.Lock()
		suspect := s.f.suspects.known(it.r.Text)
		s.f.mu.Unlock()
		if suspect {
			s.alone(ctx, it)
		} else {
			company = append(company, it)
		}
	}
	for range maxRounds {
		if len(company) == 0 {
			return
		}
		undecided := s.group(ctx, company)
		company = nil
		for _, it := range undecided {
			switch s.decide(ctx, it) {
			case again:
				company = append(company, it)
			case againAlone:
				s.alone(ctx, it)
			case charge, quarantine: // decide is done with it
			}
		}
	}
	for _, it := range company {
		s.finish(it, errors.New("it was tried often enough for now"))
	}
}

// alone has a suspect spoken by an address that does nothing else.
func (s *speech) alone(ctx context.Context, it *item) {
	for range maxRounds {
		if failed := s.attempt(ctx, []*item{it}, true); len(failed) == 0 {
			return
		}
		if r := s.decide(ctx, it); r == charge || r == quarantine {
			return
		}
	}
	s.finish(it, errors.New("it was tried often enough for now"))
}

// finish gives up on it for now, uncharged.
func (s *speech) finish(it *item, why error) {
	s.done(it.index, Answer{Result: engine.Result{Err: &job.Error{Op: "fleet.Speak", Kind: job.Unavailable, Err: fmt.Errorf("%w: %w", ErrWaits, why)}}})
}

// group has items spoken in one call, in halves if that fails as a whole, and
// returns those whose failure has to be judged.
func (s *speech) group(ctx context.Context, items []*item) (failed []*item) {
	failed = s.attempt(ctx, items, false)
	if len(failed) < len(items) || len(items) == 1 {
		return failed
	}
	if failed[0].trial.fault == lost && s.prove(ctx, failed[0]) == unwell {
		return failed
	}
	s.f.log.WarnContext(ctx, "an engine call failed as a whole and is halved", slog.Int("items", len(items)), slog.String("error", failed[0].answer.Err.Error()))
	half := len(items) / 2
	left := s.group(ctx, items[:half])
	right := s.group(ctx, items[half:])
	failed = append(left, right...)
	if len(left) == half && len(failed) == len(items) { // nothing was spoken
		s.prove(ctx, failed[0])
	}
	return failed
}

// attempt has items spoken in one call; what an address was too full for, or could
// not be told, goes to another. It returns the items that failed doubtfully.
func (s *speech) attempt(ctx context.Context, items []*item, alone bool) (failed []*item) {
	for len(items) > 0 {
		m, c, err := s.f.take(ctx, len(items), alone)
		if err != nil {
			for _, it := range items {
				if ctx.Err() != nil {
					err = engine.CallError("fleet.take", context.Cause(ctx))
				}
				s.done(it.index, Answer{Result: engine.Result{Err: err}})
			}
			return failed
		}
		if alone && !s.f.control(ctx, m, c, items[0]) {
			continue
		}
		faults := s.f.call(ctx, m, c, items, alone)
		var others []*item
		spoken := 0
		for i, it := range items {
			switch faults[i] {
			case none:
				spoken++
				s.done(it.index, it.answer)
			case stopped, ours:
				s.done(it.index, it.answer)
			case full, away:
				others = append(others, it)
			case answer, broke, lost:
				failed = append(failed, it)
			}
		}
		for _, it := range failed {
			it.trial.beside = it.trial.beside || spoken > 0
		}
		items = others
	}
	return failed
}

// call makes one call and learns from it.
func (f *Fleet) call(ctx context.Context, m *member, c call, items []*item, alone bool) []fault {
	requests, seconds, known := make([]engine.Request, len(items)), 0.0, true
	for i, it := range items {
		requests[i] = it.r
		seconds += it.r.Seconds
		known = known && it.r.Seconds > 0
	}
	predicted := seconds
	if !known {
		predicted = 0
	}
	begun := time.Now()
	until, end := context.WithCancelCause(ctx)
	defer end(nil)
	f.mu.Lock()
	m.opens(begun, c.number, predicted, m.inFlight, end)
	f.mu.Unlock()
	m.nudge.Raise()
	answers := f.ask(until, m, requests, f.cfg.CallMin+time.Duration(f.cfg.CallFactor*seconds*float64(time.Second)))
	took := time.Since(begun)
	faults := make([]fault, len(items))
	var worst error
	for i, it := range items {
		a := Answer{Result: answers[i], Seconds: took.Seconds() * share(requests, i)}
		asked := a.Backend != ""
		if errors.Is(a.Err, errStalled) {
			a.Err = &job.Error{Op: "fleet.call", Kind: job.Engine, Public: "The speech engine gave no answer in time.", Err: a.Err}
		}
		if a.Err == nil {
			a.Verdict, a.Err = judge(f.cfg.Check, f.history, m.info, it.r, a.Audio)
		}
		it.answer, faults[i] = a, faultOf(ctx, a.Err, asked)
		if worst == nil {
			worst = a.Err
		}
	}
	f.cfg.Meter.Call(f.cfg.Pool, len(items), took, worst)
	if worst != nil && ctx.Err() == nil {
		f.log.WarnContext(ctx, "an engine call failed", slog.String("backend", m.name), slog.String("request", items[0].r.ID), slog.Int("items", len(items)), slog.String("error", worst.Error()))
	}
	f.change(func(now time.Time) { f.learn(now, m, c, items, faults, alone) })
	return faults
}

// learn notes what a call showed. It needs the lock.
func (f *Fleet) learn(now time.Time, m *member, c call, items []*item, faults []fault, alone bool) {
	good := goodSeconds(items, faults)
	m.closes(now, c.number, m.inFlight, good > 0)
	m.end(now, c, len(items), good)
	if alone {
		m.reserved = false
	}
	for i, it := range items {
		switch faults[i] {
		case none:
			m.spoken(now, c.number)
			f.suspects.spoken(it.r.Text)
		case full:
			after, _ := engine.RetryAfter(it.answer.Err)
			m.full(now, after)
		case away:
			switch {
			case errors.Is(it.answer.Err, engine.ErrStarting):
				m.starts(now, reason(it.answer.Err))
			case m.phase == well:
				m.fall(now, reason(it.answer.Err), false)
				m.admitted = false // who comes back may be another build
			}
		case answer, broke, lost:
			before := uint64(0)
			if it.m == m {
				before = it.failed
			}
			it.m, it.failed, it.before = m, m.begun, before
			it.trial.fault, it.trial.alone, it.trial.beside = faults[i], alone, false
			it.trial.died = errors.Is(it.answer.Err, engine.ErrDied)
			it.trial.failures++
		case stopped, ours:
		}
	}
}

// goodSeconds returns how much audio a call brought, 0 if not all of it is good.
func goodSeconds(items []*item, faults []fault) (sum float64) {
	for i, it := range items {
		if faults[i] != none {
			return 0
		}
		sum += it.answer.Audio.Seconds()
	}
	return sum
}

// ask has the driver of m speak requests, within limit, and returns a result for each.
func (f *Fleet) ask(ctx context.Context, m *member, requests []engine.Request, limit time.Duration) []engine.Result {
	call, cancel := context.WithTimeoutCause(ctx, limit, errCallTimeout)
	defer cancel()
	results, err := m.driver.Synthesize(call, requests)
	if err == nil && len(results) != len(requests) {
		err = &job.Error{Op: "fleet.ask", Kind: job.Engine, Public: "The speech engine gave no usable answer.", Err: fmt.Errorf("%d results for %d requests", len(results), len(requests))}
	}
	if err == nil {
		return results
	}
	if ctx.Err() == nil && errors.Is(err, errCallTimeout) {
		err = &job.Error{Op: "fleet.ask", Kind: job.Engine, Public: "The speech engine gave no answer in time.", Err: err}
	}
	results = make([]engine.Result, len(requests))
	for i := range results {
		results[i] = engine.Result{Backend: m.name, Err: err}
	}
	return results
}

// share is the part of a call's time that request i is charged with.
func share(requests []engine.Request, i int) float64 {
	sum := 0.0
	for _, r := range requests {
		sum += r.Seconds
	}
	if sum <= 0 {
		return 1 / float64(len(requests))
	}
	return requests[i].Seconds / sum
}

// prove finds out how the address is with which it failed.
func (s *speech) prove(ctx context.Context, it *item) proof {
	s.f.mu.Lock()
	good, m := it.m.good, it.m
	s.f.mu.Unlock()
	if it.trial.beside || good > it.failed || it.before > 0 && good > it.before {
		return speaks
	}
	return s.f.question(ctx, m, &it.r, it.failed)
}

// decide rules who pays for the failure of it. With charge and quarantine it is
// done with it.
func (s *speech) decide(ctx context.Context, it *item) ruling {
	p := s.prove(ctx, it)
	if ctx.Err() != nil {
		return again // the next attempt says that the caller left
	}
	if p == voiceless {
		it.answer.Err = &job.Error{Op: "fleet.Speak", Kind: job.Unavailable, Err: fmt.Errorf("%w: %w", ErrVoice, it.answer.Err)}
		s.done(it.index, it.answer)
		return charge
	}
	if it.trial.fault != answer {
		s.f.change(func(now time.Time) { s.f.suspect(now, it, p) })
	}
	r := rule(it.trial, p)
	switch r {
	case quarantine:
		it.answer.Err = &job.Error{
			Op: "fleet.Speak", Kind: job.Engine, Public: fmt.Sprintf("The text ended the speech engine %d times.", it.trial.deaths),
			Err: fmt.Errorf("%w, %d times: %w", engine.ErrPoison, it.trial.deaths, it.answer.Err),
		}
		fallthrough
	case charge:
		s.done(it.index, it.answer)
	case again, againAlone:
	}
	return r
}

// suspect notes that it broke an engine. It needs the lock.
func (f *Fleet) suspect(now time.Time, it *item, p proof) {
	f.suspects.note(it.r.Text)
	it.trial.doubt, it.trial.enough = it.m.doubt, f.suspects.enough()
	if !it.trial.alone {
		return
	}
	it.trial.crowd = f.suspects.brokeAlone(it.r.Text)
	if it.trial.fault == lost && (p == unwell || it.trial.died) {
		it.trial.deaths = f.suspects.ended(it.r.Text)
	}
	if it.trial.crowd && p == canary && it.m.phase == well {
		it.m.fall(now, "it speaks a canary, and fails with every text", false)
	}
}

func waits(reason string) error { return fmt.Errorf("%w: %s", ErrWaits, reason) }
