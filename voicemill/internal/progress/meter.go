package progress

import "time"

// Snapshot is the state of a job at one moment.
type Snapshot struct {
	At             time.Time
	Elapsed        time.Duration // since the job started, until it ended; 0 while unknown
	Title          string        // may be empty
	State          string
	SegmentsTotal  int
	SegmentsDone   int // with those reused
	SegmentsReused int
	SegmentsFailed int
	ChaptersTotal  int
	ChaptersReady  int
	AudioSeconds   float64
	Fraction       float64   // 0 to 1
	ETA            time.Time // the server's estimate; zero while it has none
	Final          bool      // nothing changes any more
}

// window is how far back the speed looks: long enough to level out whole
// segments arriving in batches, short enough to follow a worker that joins.
const window = 2 * time.Minute

// maxKept bounds what a Meter remembers; closer snapshots are thinned out.
const maxKept = 64

// Meter derives speed and remaining time from the snapshots of the last two
// minutes. The zero value is ready to use; it is not safe for concurrent use.
type Meter struct {
	kept []Snapshot // oldest first
}

// Frame is one view of a job.
type Frame struct {
	Snapshot
	Speed  float64       // audio seconds made per second; 0 while unknown
	Remain time.Duration // until the end at this speed; 0 while unknown
}

// Add takes the next snapshot and returns the view of it.
func (m *Meter) Add(s Snapshot) Frame {
	m.keep(s)
	f := Frame{Snapshot: s}
	if s.Final {
		f.Speed = ratio(s.AudioSeconds, s.Elapsed)
		return f
	}
	oldest := m.kept[0]
	passed := s.At.Sub(oldest.At)
	if f.Speed = ratio(s.AudioSeconds-oldest.AudioSeconds, passed); f.Speed == 0 {
		f.Speed = ratio(s.AudioSeconds, s.Elapsed)
	}
	switch gained := s.Fraction - oldest.Fraction; {
	case s.Fraction >= 1:
	case s.ETA.After(s.At):
		f.Remain = s.ETA.Sub(s.At)
	case gained > 0 && passed > 0:
		f.Remain = time.Duration((1 - s.Fraction) / gained * float64(passed))
	}
	return f
}

func (m *Meter) keep(s Snapshot) {
	if n := len(m.kept); n > 1 && s.At.Sub(m.kept[n-2].At) < window/maxKept {
		m.kept[n-1] = s
		return
	}
	m.kept = append(m.kept, s)
	for len(m.kept) > 2 && (len(m.kept) > maxKept || s.At.Sub(m.kept[1].At) >= window) {
		m.kept = m.kept[1:]
	}
}

// ratio returns seconds of audio per second of d, or 0 if that says nothing.
func ratio(audioSeconds float64, d time.Duration) float64 {
	if d <= 0 || audioSeconds <= 0 {
		return 0
	}
	return audioSeconds / d.Seconds()
}
