package meter

import (
	"cmp"
	"errors"
	"time"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/telemetry"
	"github.com/voicemill/voicemill/worker/internal/engine"
)

// Outcome is what became of one segment in a worker's hands.
type Outcome string

// The outcomes.
const (
	Spoken   Outcome = "spoken"   // the engine spoke it
	Reused   Outcome = "reused"   // its rendition was there already
	Failed   Outcome = "failed"   // an attempt failed
	Unwanted Outcome = "unwanted" // cancelled, or done by another worker
	Died     Outcome = "died"     // workers died with it
)

// What an assembly does.
const (
	Join   = "join"   // a chapter's file
	Finish = "finish" // the end of a job
	Encode = "encode" // a chapter's files, or a book's
)

// Meter is the worker's metrics. A nil Meter counts nothing. It is safe for
// concurrent use. Every series is there from the start, so that a rate over it is
// never without an answer.
type Meter struct {
	segments telemetry.CounterVec
	errors   telemetry.CounterVec
	ended    telemetry.CounterVec
	audio    telemetry.CounterVec
	calls    telemetry.CounterVec
	engine   telemetry.CounterVec
	canaries telemetry.CounterVec
	admitted telemetry.CounterVec
	waiting  telemetry.GaugeVec
	backends telemetry.GaugeVec
	windows  telemetry.GaugeVec
	batches  telemetry.HistogramVec
	groups   telemetry.Histogram
	assembly telemetry.HistogramVec
	verdicts telemetry.CounterVec
	hearings telemetry.HistogramVec
	ears     telemetry.GaugeVec
}

// New registers the metrics of a worker that serves pools. It may be called once
// for a Registry.
func New(reg *telemetry.Registry, pools ...string) *Meter {
	sizes := []float64{1, 2, 4, 8, 16, 32, 64, 128, 256, 500}
	durations := []float64{.05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 120, 300}
	m := &Meter{
		errors:   reg.CounterVec("voicemill_worker_segment_errors_total", "Tries of segments that brought no speech, by the kind of failure.", "pool", "kind"),
		ended:    reg.CounterVec("voicemill_worker_jobs_ended_total", "Jobs that this worker ended, by their last state.", "state"),
		segments: reg.CounterVec("voicemill_worker_segments_total", "Segments by what became of them in this worker.", "pool", "outcome"),
		audio:    reg.CounterVec("voicemill_worker_audio_seconds_total", "Seconds of audio that engines spoke.", "pool"),
		calls:    reg.CounterVec("voicemill_worker_engine_calls_total", "Engine calls by how they ended.", "pool", "result"),
		engine:   reg.CounterVec("voicemill_worker_engine_seconds_total", "Seconds spent in engine calls.", "pool"),
		canaries: reg.CounterVec("voicemill_worker_canaries_total", "Short sentences by which engines were tried, by how that ended.", "pool", "result"),
		admitted: reg.CounterVec("voicemill_worker_admissions_total", "Sets of sentences that new engines spoke alone and in company, by how that ended.", "pool", "result"),
		waiting:  reg.GaugeVec("voicemill_worker_pool_waiting", "1 while the pool takes no work because none of its engines is well.", "pool"),
		backends: reg.GaugeVec("voicemill_worker_backends", "Addresses of the pool's engines, by how they are.", "pool", "state"),
		batches:  reg.HistogramVec("voicemill_worker_batch_segments", "Segments in one engine call.", sizes, "pool"),
		groups:   reg.Histogram("voicemill_worker_commit_outcomes", "Outcomes in one database transaction.", sizes),
		assembly: reg.HistogramVec("voicemill_worker_assembly_duration_seconds", "Time to join a chapter or to end a job.", durations, "kind", "result"),
	}
	m.windows = reg.GaugeVec("voicemill_worker_window_segments", "Segments that the pool's engines should have at once, all and eased, while interactive work comes.", "pool", "use")
	m.verdicts = reg.CounterVec("voicemill_worker_heard_total", "Tries of segments that were to be heard, by what was heard; unheard: no ear was well.", "pool", "verdict")
	m.hearings = reg.HistogramVec("voicemill_worker_hearing_duration_seconds", "Time of one request to an ear.", durations, "result")
	m.ears = reg.GaugeVec("voicemill_worker_ears", "Ears of this worker, by how they are.", "state")
	m.begin(pools)
	return m
}

// begin shows what has not happened yet as zero.
func (m *Meter) begin(pools []string) {
	results := []string{result(nil)}
	for _, k := range job.Kinds() {
		results = append(results, k.String())
	}
	for _, pool := range pools {
		m.audio.With(pool)
		m.engine.With(pool)
		m.batches.With(pool)
		for _, o := range []Outcome{Spoken, Reused, Failed, Unwanted, Died} {
			m.segments.With(pool, string(o))
		}
		for _, r := range results {
			m.calls.With(pool, r)
			m.canaries.With(pool, r)
		}
		for _, how := range admissions {
			m.admitted.With(pool, how)
		}
		for _, r := range results[1:] {
			m.errors.With(pool, r)
		}
		for _, v := range verdicts {
			m.verdicts.With(pool, v)
		}
	}
	for _, s := range []job.State{job.StateSucceeded, job.StatePartial, job.StateFailed} {
		m.ended.With(string(s))
	}
	for _, kind := range []string{Join, Encode, Finish} {
		m.assembly.With(kind, result(nil))
		m.assembly.With(kind, job.Unavailable.String())
		m.assembly.With(kind, job.Internal.String())
	}
}

// Segment counts one segment.
func (m *Meter) Segment(pool string, o Outcome) {
	if m != nil {
		m.segments.With(pool, string(o)).Inc()
	}
}

// Error counts one try of so many segments that brought no speech.
func (m *Meter) Error(pool string, segments int, err error) {
	if m != nil {
		m.errors.With(pool, job.KindOf(err).String()).Add(float64(segments))
	}
}

// Ended counts one job that has come to its last state.
func (m *Meter) Ended(s job.State) {
	if m != nil {
		m.ended.With(string(s)).Inc()
	}
}

// Spoken counts one segment that was spoken, and its audio.
func (m *Meter) Spoken(pool string, audioSeconds float64) {
	if m != nil {
		m.segments.With(pool, string(Spoken)).Inc()
		m.audio.With(pool).Add(audioSeconds)
	}
}

// Call counts one engine call of so many segments.
func (m *Meter) Call(pool string, segments int, took time.Duration, err error) {
	if m != nil {
		m.calls.With(pool, result(err)).Inc()
		m.engine.With(pool).Add(took.Seconds())
		m.batches.With(pool).Observe(float64(segments))
	}
}

// Canary counts one sentence by which an engine was tried.
func (m *Meter) Canary(pool string, err error) {
	if m != nil {
		m.canaries.With(pool, result(err)).Inc()
	}
}

// Admission counts one admission of an engine.
func (m *Meter) Admission(pool string, err error) {
	if m == nil {
		return
	}
	how := admissions[0]
	switch {
	case errors.Is(err, engine.ErrRefused):
		how = admissions[1]
	case err != nil:
		how = admissions[2]
	}
	m.admitted.With(pool, how).Inc()
}

// admissions are how they end.
var admissions = []string{"admitted", "refused", "failed"}

// Fleet shows how the engines of a pool are.
func (m *Meter) Fleet(pool string, waiting bool, well, sick int) {
	if m == nil {
		return
	}
	value := 0.0
	if waiting {
		value = 1
	}
	m.waiting.With(pool).Set(value)
	m.backends.With(pool, "well").Set(float64(well))
	m.backends.With(pool, "sick").Set(float64(sick))
}

// Window shows how many segments the engines of a pool should have at once: all, and
// such as nobody waits for while somebody waits for others.
func (m *Meter) Window(pool string, all, eased int) {
	if m != nil {
		m.windows.With(pool, "all").Set(float64(all))
		m.windows.With(pool, "eased").Set(float64(eased))
	}
}

// Unheard is the verdict of a segment that was to be heard and was not.
const Unheard = "unheard"

const good = "good"

//nolint:gochecknoglobals // a table
var verdicts = []string{good, Unheard, "missing", "extra", "repeated", "other"}

// Verdict counts one segment that was to be heard; an empty verdict is good.
func (m *Meter) Verdict(pool, verdict string) {
	if m != nil {
		m.verdicts.With(pool, cmp.Or(verdict, good)).Inc()
	}
}

// Heard counts one request to an ear.
func (m *Meter) Heard(took time.Duration, err error) {
	if m != nil {
		m.hearings.With(result(err)).Observe(took.Seconds())
	}
}

// Ears shows how the ears are.
func (m *Meter) Ears(well, sick int) {
	if m != nil {
		m.ears.With("well").Set(float64(well))
		m.ears.With("sick").Set(float64(sick))
	}
}

// Group counts one transaction of so many outcomes.
func (m *Meter) Group(outcomes int) {
	if m != nil {
		m.groups.Observe(float64(outcomes))
	}
}

// Assembly counts one [Join], [Encode] or [Finish].
func (m *Meter) Assembly(kind string, took time.Duration, err error) {
	if m != nil {
		m.assembly.With(kind, result(err)).Observe(took.Seconds())
	}
}

// result is "ok" or the kind of err.
func result(err error) string {
	if err == nil {
		return "ok"
	}
	return job.KindOf(err).String()
}
