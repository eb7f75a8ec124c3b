package meter_test

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/telemetry"
	"github.com/voicemill/voicemill/worker/internal/meter"
)

func TestWhatIsCountedCanBeRead(t *testing.T) {
	t.Parallel()
	reg := telemetry.NewRegistry()
	m := meter.New(reg)
	m.Spoken("espeak", 2.5)
	m.Segment("espeak", meter.Reused)
	m.Call("espeak", 4, 3*time.Second, nil)
	m.Call("espeak", 1, time.Second, &job.Error{Op: "t", Kind: job.Overloaded})
	m.Group(7)
	m.Assembly(meter.Join, time.Second, errors.New("who knows"))
	var out bytes.Buffer
	require.NoError(t, reg.Write(&out))
	for _, line := range []string{
		`voicemill_worker_segments_total{outcome="spoken",pool="espeak"} 1`,
		`voicemill_worker_segments_total{outcome="reused",pool="espeak"} 1`,
		`voicemill_worker_audio_seconds_total{pool="espeak"} 2.5`,
		`voicemill_worker_engine_calls_total{pool="espeak",result="overloaded"} 1`,
		`voicemill_worker_engine_seconds_total{pool="espeak"} 4`,
		`voicemill_worker_batch_segments_sum{pool="espeak"} 5`,
		`voicemill_worker_commit_outcomes_sum 7`,
		`voicemill_worker_assembly_duration_seconds_count{kind="join",result="internal"} 1`,
	} {
		require.Contains(t, out.String(), line)
	}
}

func TestWhatHasNotHappenedIsZero(t *testing.T) {
	t.Parallel()
	reg := telemetry.NewRegistry()
	m := meter.New(reg, "espeak", "gpu")
	m.Error("gpu", 3, &job.Error{Op: "t", Kind: job.Engine})
	m.Ended(job.StatePartial)
	var out bytes.Buffer
	require.NoError(t, reg.Write(&out))
	for _, line := range []string{
		`voicemill_worker_segment_errors_total{kind="engine",pool="gpu"} 3`,
		`voicemill_worker_segment_errors_total{kind="engine",pool="espeak"} 0`,
		`voicemill_worker_segments_total{outcome="spoken",pool="espeak"} 0`,
		`voicemill_worker_audio_seconds_total{pool="espeak"} 0`,
		`voicemill_worker_engine_calls_total{pool="espeak",result="ok"} 0`,
		`voicemill_worker_engine_calls_total{pool="espeak",result="unavailable"} 0`,
		`voicemill_worker_batch_segments_count{pool="gpu"} 0`,
		`voicemill_worker_jobs_ended_total{state="partial"} 1`,
		`voicemill_worker_jobs_ended_total{state="succeeded"} 0`,
		`voicemill_worker_assembly_duration_seconds_count{kind="finish",result="ok"} 0`,
	} {
		require.Contains(t, out.String(), line)
	}
}

func TestANilMeterCountsNothing(t *testing.T) {
	t.Parallel()
	var m *meter.Meter
	m.Spoken("p", 1)
	m.Segment("p", meter.Failed)
	m.Call("p", 1, time.Second, nil)
	m.Group(1)
	m.Error("p", 1, errors.New("x"))
	m.Ended(job.StateFailed)
	m.Assembly(meter.Finish, time.Second, nil)
}
