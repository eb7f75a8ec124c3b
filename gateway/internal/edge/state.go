package edge

import "slices"

// phase is where in its life a connection is; see the package comment, which draws
// what [phases] says.
type phase uint8

const (
	phaseAccepted phase = iota
	phaseProxy
	phaseSniff
	phaseHandshake
	phaseHTTP
	phaseUpgraded
	phaseLinger
	phaseClosed
)

// phases says what a phase is called and which may follow it.
//
//nolint:gochecknoglobals // a table
var phases = [...]struct {
	name string
	next []phase
}{
	phaseAccepted:  {"accepted", []phase{phaseProxy, phaseSniff, phaseHTTP, phaseClosed}},
	phaseProxy:     {"proxied", []phase{phaseSniff, phaseHTTP, phaseClosed}},
	phaseSniff:     {"sniffing", []phase{phaseHandshake, phaseHTTP, phaseUpgraded, phaseLinger, phaseClosed}},
	phaseHandshake: {"handshake", []phase{phaseSniff, phaseHTTP, phaseLinger, phaseClosed}},
	phaseHTTP:      {"http", []phase{phaseUpgraded, phaseLinger, phaseClosed}},
	phaseUpgraded:  {"upgraded", []phase{phaseLinger, phaseClosed}},
	phaseLinger:    {"lingering", []phase{phaseClosed}},
	phaseClosed:    {"closed", nil},
}

// String returns what the phase is called.
func (p phase) String() string { return phases[p].name }

// become takes the connection to its next phase.
func (c *conn) become(next phase) {
	if !slices.Contains(phases[c.phase].next, next) {
		panic("bug: a connection that is " + c.phase.String() + " becomes " + next.String())
	}
	c.phase = next
}
