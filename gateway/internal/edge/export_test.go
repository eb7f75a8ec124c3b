package edge

// The bounds of a turn, for tests that count.
const (
	TurnRequests = turnRequests
	TurnEffort   = turnEffort
)
