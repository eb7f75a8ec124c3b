package gateway

import (
	"time"

	"github.com/voicemill/voicemill/gateway/internal/edge"
	"github.com/voicemill/voicemill/platform/telemetry"
)

// measure registers what the edge counts. docs/gateway.md lists it.
func measure(reg *telemetry.Registry, stats *edge.Stats) {
	for name, g := range map[string]struct {
		n    interface{ Load() int64 }
		help string
	}{
		"connections":  {&stats.Open, "Open connections."},
		"buffer_bytes": {&stats.Buffered, "Bytes that connections hold: partial and waiting requests, and output that was not taken."},
		"body_streams": {&stats.Bodies, "Bodies under way."},
		"handshakes":   {&stats.Handshakes, "TLS handshakes under way."},
	} {
		reg.GaugeFunc("voicemill_gateway_"+name, g.help, func() float64 { return float64(g.n.Load()) })
	}
	reg.GaugeFunc("voicemill_gateway_loop_lag_seconds", "The longest that an event loop took to turn to what had come, in the last 15 to 30 seconds.",
		func() float64 { return time.Duration(stats.LoopLag.Load()).Seconds() })
	for name, c := range map[string]struct {
		n    interface{ Load() uint64 }
		help string
	}{
		"connections_accepted":     {&stats.Accepted, "Connections accepted."},
		"connections_shed":         {&stats.ShedConns, "Connections turned away because there were too many."},
		"connections_stalled":      {&stats.CutStalled, "Connections cut because their peer did not read, or too slowly."},
		"connections_flooding":     {&stats.CutBacklog, "Connections cut because their peer did not stop sending."},
		"connections_half_closed":  {&stats.HalfClosed, "Connections kept for answers after their peer shut its sending side."},
		"connections_bad_proxy":    {&stats.BadProxy, "Connections of load balancers that did not begin as they must."},
		"connections_not_accepted": {&stats.AcceptErrs, "Failures to accept a connection."},
		"handshakes_failed":        {&stats.FailedHandshakes, "TLS handshakes that failed."},
		"handshakes_shed":          {&stats.ShedHandshakes, "Connections closed because too many TLS handshakes were under way."},
		"memory_shed":              {&stats.ShedMemory, "Connections ended because too much was buffered."},
		"requests_held_back":       {&stats.HeldBack, "Connections whose requests came faster than their turns, so that their client had to wait."},
		"bodies_held_back":         {&stats.Departed, "Bodies that came faster than they were read, so that their client had to wait."},
		"body_streams_shed":        {&stats.ShedBodies, "Bodies refused because there were too many."},
		"requests_refused":         {&stats.Refused, "Requests that could not be read."},
		"requests_late":            {&stats.Late, "Requests that did not arrive in time."},
		"requests_unanswered":      {&stats.Unanswered, "Requests answered in place of a handler that did not."},
		"panics":                   {&stats.Panics, "Panics that ended one request or connection."},
		"bytes_in":                 {&stats.BytesIn, "Bytes received."},
		"bytes_out":                {&stats.BytesOut, "Bytes sent."},
	} {
		reg.CounterFunc("voicemill_gateway_"+name+"_total", c.help, func() float64 { return float64(c.n.Load()) })
	}
}
