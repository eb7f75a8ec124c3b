package job

// State is the state of a job. docs/states.md draws the machine and a test
// compares the drawing with [State.Next].
type State string

// The states of a job.
const (
	StateAccepted   State = "accepted"   // durable in JOBS; not yet planned
	StatePlanning   State = "planning"   // the scheduler reads the manuscript
	StateQueued     State = "queued"     // segments are in Postgres, none released
	StateRunning    State = "running"    // at least one segment was released
	StateAssembling State = "assembling" // every segment is final; chapters are being joined
	StateSucceeded  State = "succeeded"  // every planned segment is in the audio, in order
	StatePartial    State = "partial"    // finished with named failed segments, as the request allowed
	StateFailed     State = "failed"     // ended without the audio that was asked for
	StateCancelled  State = "cancelled"  // ended by its owner
)

var nextStates = map[State][]State{
	StateAccepted:   {StatePlanning, StateFailed, StateCancelled},
	StatePlanning:   {StateQueued, StateFailed, StateCancelled},
	StateQueued:     {StateRunning, StateAssembling, StateFailed, StateCancelled},
	StateRunning:    {StateAssembling, StateFailed, StateCancelled},
	StateAssembling: {StateRunning, StateSucceeded, StatePartial, StateFailed, StateCancelled},
	StateSucceeded:  {StateRunning},
	StatePartial:    {StateRunning},
	StateFailed:     {StateRunning, StateAccepted},
}

// States lists every state in the order of a job's life.
func States() []State {
	return []State{StateAccepted, StatePlanning, StateQueued, StateRunning, StateAssembling, StateSucceeded, StatePartial, StateFailed, StateCancelled}
}

// Next returns the states that may follow s; what follows a final state is a
// command of the owner's. The caller must not change the slice.
func (s State) Next() []State { return nextStates[s] }

// Final reports whether s is an end: nothing follows unless the owner opens the
// job again.
func (s State) Final() bool {
	return s == StateSucceeded || s == StatePartial || s == StateFailed || s == StateCancelled
}

// Valid reports whether s is one of [States].
func (s State) Valid() bool {
	switch s {
	case StateAccepted, StatePlanning, StateQueued, StateRunning, StateAssembling, StateSucceeded, StatePartial, StateFailed, StateCancelled:
		return true
	}
	return false
}

// SegmentState is the state of one segment.
type SegmentState string

// The states of a segment.
const (
	SegmentPending   SegmentState = "pending"   // in Postgres, not in WORK
	SegmentReleased  SegmentState = "released"  // one message in WORK or with a worker
	SegmentDone      SegmentState = "done"      // its rendition is stored whole
	SegmentReused    SegmentState = "reused"    // done without work: the rendition existed
	SegmentFailed    SegmentState = "failed"    // given up after its attempts
	SegmentCancelled SegmentState = "cancelled" // its job was cancelled first
)

// ChapterState is the state of one chapter.
type ChapterState string

// The states of a chapter.
const (
	ChapterPending    ChapterState = "pending"    // segments are missing
	ChapterAssembling ChapterState = "assembling" // every segment is final; a join is due
	ChapterReady      ChapterState = "ready"      // its audio file is stored whole
	ChapterFailed     ChapterState = "failed"     // it cannot be joined
)

// Class is the service class of a job.
type Class string

// The classes. Interactive work is released first; bulk fills the rest.
const (
	Interactive Class = "interactive"
	Bulk        Class = "bulk"
)
