package scheduler

import (
	"strconv"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/telemetry"
	"github.com/voicemill/voicemill/scheduler/internal/callback"
	"github.com/voicemill/voicemill/scheduler/internal/export"
	"github.com/voicemill/voicemill/scheduler/internal/plan"
	"github.com/voicemill/voicemill/scheduler/internal/release"
	"github.com/voicemill/voicemill/scheduler/internal/store"
)

// metrics are what a scheduler tells of itself. Pools and classes are closed
// sets: a pool exists because an operator configured a worker for it.
type metrics struct {
	leader        telemetry.Gauge
	envelopeJobs  telemetry.Histogram
	jobsStored    telemetry.CounterVec
	planDuration  telemetry.HistogramVec
	planSegments  telemetry.CounterVec
	segmentsOut   telemetry.CounterVec
	swept         telemetry.CounterVec
	outstanding   telemetry.GaugeVec
	backlog       telemetry.GaugeVec
	backlogGPU    telemetry.GaugeVec
	oldest        telemetry.GaugeVec
	replicas      telemetry.GaugeVec
	desired       telemetry.GaugeVec
	speed         telemetry.GaugeVec
	parked        telemetry.Gauge
	callbacks     telemetry.CounterVec
	callbacksLost telemetry.CounterVec
	exports       telemetry.CounterVec
	step          telemetry.Histogram
	told          telemetry.CounterVec
	off           telemetry.HistogramVec
}

func newMetrics(r *telemetry.Registry) *metrics {
	m := &metrics{
		leader:        r.Gauge("voicemill_scheduler_leader", "1 while this process leads."),
		envelopeJobs:  r.Histogram("voicemill_scheduler_envelope_jobs", "Jobs that one envelope brought.", []float64{1, 2, 4, 8, 16, 32, 64, 128, 256, 512}),
		jobsStored:    r.CounterVec("voicemill_scheduler_jobs_stored_total", "Jobs taken from JOBS into Postgres, by the state they got.", "state"),
		planDuration:  r.HistogramVec("voicemill_scheduler_plan_duration_seconds", "Time to plan one job.", telemetry.LatencyBuckets(), "outcome"),
		planSegments:  r.CounterVec("voicemill_scheduler_planned_segments_total", "Segments planned, by what they need.", "kind"),
		segmentsOut:   r.CounterVec("voicemill_scheduler_released_segments_total", "Segments let out; joins in the pool assemble.", "pool", "class"),
		swept:         r.CounterVec("voicemill_scheduler_swept_messages_total", "Messages published again because they were out for long.", "pool", "class"),
		outstanding:   r.GaugeVec("voicemill_scheduler_outstanding_segments", "Segments that are out; joins in the pool assemble.", "pool", "class"),
		backlog:       r.GaugeVec("voicemill_scheduler_backlog_seconds", "Predicted audio that is still to be made, what is out included.", "pool", "class"),
		backlogGPU:    r.GaugeVec("voicemill_scheduler_backlog_gpu_seconds", "The backlog in seconds of one replica of the pool's workers, at the speed that they tell.", "pool", "class"),
		oldest:        r.GaugeVec("voicemill_scheduler_oldest_waiting_seconds", "Time since the oldest job was accepted that has segments to be spoken.", "pool", "class"),
		replicas:      r.GaugeVec("voicemill_scheduler_pool_replicas", "Workers that take work of a pool.", "pool"),
		desired:       r.GaugeVec("voicemill_scheduler_desired_replicas", "Workers that the backlog of a pool is worth.", "pool"),
		speed:         r.GaugeVec("voicemill_scheduler_replica_audio_seconds_per_second", "Audio that one worker of a pool makes in a second of work; the setting until one has told.", "pool"),
		parked:        r.Gauge("voicemill_scheduler_parked_messages", "Messages of accepted jobs that could not be read or stored and wait in PARKED to be looked at."),
		callbacks:     r.CounterVec("voicemill_scheduler_callback_attempts_total", "Attempts at callbacks, by outcome.", "outcome"),
		callbacksLost: r.CounterVec("voicemill_scheduler_callback_failures_total", "Attempts at callbacks that did not succeed, by cause.", "cause"),
		exports:       r.CounterVec("voicemill_scheduler_export_attempts_total", "Attempts to deliver the files of a job into its owner's bucket, by outcome.", "outcome"),
		step:          r.Histogram("voicemill_scheduler_step_duration_seconds", "Time of one step of the release that let something out.", telemetry.LatencyBuckets()),
		told:          r.CounterVec("voicemill_scheduler_estimates_total", "Jobs that ended, by whether it was within the first interval that was said of them.", "class", "covered"),
		off: r.HistogramVec("voicemill_scheduler_estimate_off_ratio", "By how much longer jobs took than was first said, of what they took; below zero, faster.",
			[]float64{-1, -0.5, -0.25, -0.1, 0, 0.1, 0.25, 0.5, 1}, "class"),
	}
	m.begin()
	return m
}

// begin shows what has not happened yet as zero, so that a rate over it is never
// without an answer.
func (m *metrics) begin() {
	for _, state := range []job.State{job.StateAccepted, job.StateFailed, job.StateCancelled} {
		m.jobsStored.With(string(state))
	}
	m.planDuration.With(queued)
	for _, kind := range job.Kinds() {
		m.planDuration.With(kind.String())
	}
	for _, kind := range []string{render, reuse} {
		m.planSegments.With(kind)
	}
	for _, class := range classes() {
		m.off.With(string(class))
		for _, covered := range []bool{false, true} {
			m.told.With(string(class), strconv.FormatBool(covered))
		}
	}
	for _, outcome := range []string{callback.Delivered, callback.Retrying, callback.Failed} {
		m.callbacks.With(outcome)
	}
	for _, outcome := range []string{export.Delivered, export.Retrying, export.Failed} {
		m.exports.With(outcome)
	}
	for _, cause := range callback.Causes() {
		m.callbacksLost.With(cause)
	}
}

// The labels of what planning brings.
const (
	queued = "queued"
	render = "render"
	reuse  = "reuse"
)

// known shows a lane whose pool exists, whether or not it had work yet.
func (m *metrics) known(pool string, class job.Class) {
	m.segmentsOut.With(pool, string(class))
	m.swept.With(pool, string(class))
}

func classes() []job.Class { return []job.Class{job.Interactive, job.Bulk} }

func (m *metrics) leading(is bool) {
	if is {
		m.leader.Set(1)
		return
	}
	m.leader.Set(0)
}

func (m *metrics) stored(jobs int, fresh []store.Inserted) {
	m.envelopeJobs.Observe(float64(jobs))
	for _, j := range fresh {
		m.jobsStored.With(string(j.State)).Inc()
	}
}

func (m *metrics) planned(o plan.Outcome) {
	outcome := queued
	if !o.Queued {
		outcome = o.Kind.String()
	}
	m.planDuration.With(outcome).Observe(o.Duration.Seconds())
	m.planSegments.With(render).Add(float64(o.Segments - o.Reused))
	m.planSegments.With(reuse).Add(float64(o.Reused))
}

func (m *metrics) released(e release.Event) {
	if t := e.Told; t != nil {
		m.told.With(string(t.Class), strconv.FormatBool(t.Covered)).Inc()
		m.off.With(string(t.Class)).Observe(t.Off)
		return
	}
	if e.Step > 0 {
		m.step.Observe(e.Step.Seconds())
		return
	}
	m.segmentsOut.With(e.Pool, string(e.Class)).Add(float64(e.Released))
	m.swept.With(e.Pool, string(e.Class)).Add(float64(e.Swept))
	m.outstanding.With(e.Pool, string(e.Class)).Add(float64(e.Out))
}

func (m *metrics) exported(outcome string) { m.exports.With(outcome).Inc() }

func (m *metrics) delivered(outcome, cause string) {
	m.callbacks.With(outcome).Inc()
	if cause != "" {
		m.callbacksLost.With(cause).Inc()
	}
}
