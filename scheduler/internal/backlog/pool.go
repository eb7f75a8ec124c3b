package backlog

import (
	"math"
	"time"

	"github.com/voicemill/voicemill/job"
)

// Speed is what is known of one replica of a pool's workers; zero is not known.
type Speed struct {
	Pool      string
	Audio     float64       // seconds of audio that it makes in one second of work
	ColdStart time.Duration // from its start to its first speech
}

// Work is what of a pool and class is not finished, whether it was let out or not.
type Work struct {
	Pool   string
	Class  job.Class
	Audio  float64       // predicted seconds
	Oldest time.Duration // since the oldest job that has some of it was accepted; 0 without work
}

// Class is the backlog of a pool and class.
type Class struct {
	GPUSeconds    float64 `json:"backlog_gpu_seconds"`
	AudioSeconds  float64 `json:"backlog_audio_seconds"`
	OldestSeconds float64 `json:"oldest_waiting_seconds"`
}

// Pool is what there is to know for whoever decides how many workers a pool gets.
type Pool struct {
	Pool             string              `json:"pool"`
	Replicas         int                 `json:"replicas"` // that take work now
	DesiredReplicas  int                 `json:"desired_replicas"`
	GPUSeconds       float64             `json:"backlog_gpu_seconds"`
	AudioPerSecond   float64             `json:"audio_seconds_per_second"` // of one replica
	ColdStartSeconds float64             `json:"cold_start_seconds"`
	Measured         bool                `json:"measured"` // a worker told the speed; else it is the setting
	Classes          map[job.Class]Class `json:"classes"`
}

// Sum puts together what is known of one pool: the work of its classes, its
// speed, and how many replicas take work now.
func (c Config) Sum(pool string, works []Work, s Speed, replicas int) Pool {
	p := Pool{Pool: pool, Replicas: replicas, AudioPerSecond: s.Audio, Measured: s.Audio > 0, Classes: map[job.Class]Class{job.Interactive: {}, job.Bulk: {}}}
	if !p.Measured {
		p.AudioPerSecond = c.Speed
	}
	if s.ColdStart <= 0 {
		s.ColdStart = c.ColdStart
	}
	p.ColdStartSeconds = s.ColdStart.Seconds()
	for _, w := range works {
		gpu := w.Audio / p.AudioPerSecond
		p.Classes[w.Class] = Class{GPUSeconds: gpu, AudioSeconds: w.Audio, OldestSeconds: w.Oldest.Seconds()}
		p.GPUSeconds += gpu
	}
	p.DesiredReplicas = Desired(p.GPUSeconds, replicas, c.Drain, s.ColdStart)
	return p
}

// Desired returns how many replicas a backlog is worth: as many as drain it in
// the time that it may take, but no replica that would be ready too late to save
// as much as its start costs. The n+1st of n saves W/n - W/(n+1) seconds, so it
// is wanted if W > n·(n+1)·cold. Any backlog at all is worth one.
func Desired(gpuSeconds float64, now int, drain, cold time.Duration) int {
	if gpuSeconds <= 0 {
		return 0
	}
	want := int(math.Min(math.Ceil(gpuSeconds/drain.Seconds()), math.MaxInt32))
	n := max(1, min(now, want))
	for n < want && gpuSeconds > float64(n)*float64(n+1)*cold.Seconds() {
		n++
	}
	return n
}
