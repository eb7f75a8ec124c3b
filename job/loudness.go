package job

// The levels to which finished audio may be brought (docs/loudness.md).
const (
	LoudnessNone = "none"     // voices stay as loud as their engines make them
	LoudnessACX  = "acx"      // what ACX asks of audiobooks
	LoudnessR128 = "ebu-r128" // what broadcasters exchange
)

// Loudnesses lists the levels that a job may ask for.
func Loudnesses() []string { return []string{LoudnessNone, LoudnessACX, LoudnessR128} }

// LoudnessReport holds a finished file against the figures of the level that its
// job asked for. It is a check of conformance, and nobody's approval.
type LoudnessReport struct {
	Target  string           `json:"target"`
	Pass    bool             `json:"pass"` // all figures pass
	Figures []LoudnessFigure `json:"figures"`
}

// LoudnessFigure is one figure of a file. A bound that is absent is none.
type LoudnessFigure struct {
	Name  string   `json:"name"`
	Unit  string   `json:"unit"` // dB, LUFS, dBTP or s
	Value float64  `json:"value"`
	Min   *float64 `json:"min,omitempty"`
	Max   *float64 `json:"max,omitempty"`
	Pass  bool     `json:"pass"`
}
