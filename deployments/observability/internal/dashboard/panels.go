package main

// row is a line of panels below a title; stats are single numbers.
type row struct {
	title  string
	stats  bool
	panels []panel
}

// panel is what one picture shows. unit is Grafana's name of it.
type panel struct {
	title, unit, help string
	stacked           bool
	steps             []object // colours of a number
	queries           []query
}

type query struct{ expr, legend string }

// one is the query of a panel that has one.
func one(expr, legend string) []query { return []query{{expr, legend}} }

// bad is green at zero and red from the given number on.
func bad(from float64) []object {
	return []object{{"color": "green", "value": nil}, {"color": "red", "value": from}}
}

// wanted is red below the given number.
func wanted(from float64) []object {
	return []object{{"color": "red", "value": nil}, {"color": "green", "value": from}}
}

var rows = []row{
	{title: "Now", stats: true, panels: []panel{
		{title: "Processes", unit: "none", help: "Targets that answer.", steps: wanted(1), queries: one(`sum(up{job=~"voicemill.*"})`, "up")},
		{title: "Leaders", unit: "none", help: "One scheduler leads.", steps: wanted(1), queries: one(`sum(voicemill_scheduler_leader)`, "leaders")},
		{title: "Requests a second", unit: "reqps", queries: one(`sum(voicemill:requests:rate5m)`, "requests")},
		{title: "Submit P99", unit: "s", help: "Until a job is durable.", steps: bad(1), queries: one(`voicemill:submit_duration_seconds:p99_5m`, "P99")},
		{title: "Speech, seconds a second", unit: "none", help: "How much faster than listening all pools together are.", queries: one(`sum(voicemill:speech_seconds:rate5m)`, "speech")},
		{title: "Backlog", unit: "s", help: "Predicted audio that is still to be made.", queries: one(`sum(voicemill:backlog_seconds:sum)`, "audio")},
		{title: "Own faults a second", unit: "none", steps: bad(0.1), queries: one(`voicemill:errors:rate5m{class="own"}`, "own")},
		{title: "Callbacks given up, 24 h", unit: "none", steps: bad(1), queries: one(`sum(increase(voicemill_scheduler_callback_attempts_total{outcome="failed"}[24h]))`, "given up")},
	}},
	{title: "Errors and load", panels: []panel{
		{title: "Errors by class", unit: "none", help: "client: the request or the text. engine: away, full, hung or nonsense. own: everything else.", queries: one(`voicemill:errors:rate5m`, "{{class}}")},
		{title: "Answers by status", unit: "reqps", stacked: true, queries: one(`sum by (status) (voicemill:requests:rate5m) > 0`, "{{status}}")},
		{title: "Turned away", unit: "reqps", help: "docs/gateway.md says what each reason means.", queries: one(`sum by (reason) (rate(voicemill_gateway_sheds_total[$__rate_interval]))`, "{{reason}}")},
	}},
	{title: "Gateway", panels: []panel{
		{title: "Submit", unit: "s", help: "Until a job is durable, over every carrier.", queries: []query{
			{`histogram_quantile(0.5, sum by (le) (rate(voicemill_gateway_request_duration_seconds_bucket{route="POST /v1/jobs"}[$__rate_interval])))`, "P50"},
			{`voicemill:submit_duration_seconds:p95_5m`, "P95"},
			{`voicemill:submit_duration_seconds:p99_5m`, "P99"},
		}},
		{title: "P95 by route", unit: "s", help: "Reads that wait for a job count with their wait.", queries: one(`voicemill:request_duration_seconds:p95_5m > 0`, "{{protocol}} {{route}}")},
		{title: "P99 by route", unit: "s", queries: one(`voicemill:request_duration_seconds:p99_5m > 0`, "{{protocol}} {{route}}")},
		{title: "Requests by route", unit: "reqps", queries: one(`sum by (protocol, route) (voicemill:requests:rate5m) > 0`, "{{protocol}} {{route}}")},
		{title: "Open", unit: "none", queries: []query{
			{`sum(voicemill_gateway_connections)`, "connections"},
			{`sum(voicemill_gateway_requests_in_flight)`, "requests"},
			{`sum by (protocol) (voicemill_gateway_sessions)`, "sessions {{protocol}}"},
			{`sum(voicemill_gateway_watches)`, "watches"},
			{`sum(voicemill_gateway_watchers)`, "waiting requests"},
		}},
		{title: "Group commit", unit: "s", help: "The bus's fsync, and what jobs wait for it.", queries: []query{
			{`histogram_quantile(0.99, sum by (le) (rate(voicemill_gateway_envelope_ack_seconds_bucket[$__rate_interval])))`, "acknowledgement P99"},
			{`histogram_quantile(0.99, sum by (le) (rate(voicemill_gateway_envelope_wait_seconds_bucket[$__rate_interval])))`, "wait P99"},
			{`max(voicemill_gateway_intake_latency_seconds)`, "mean now"},
		}},
		{title: "Loop lag", unit: "s", queries: one(`max by (instance) (voicemill_gateway_loop_lag_seconds)`, "{{instance}}")},
		{title: "Bytes", unit: "Bps", queries: []query{
			{`sum(rate(voicemill_gateway_bytes_in_total[$__rate_interval]))`, "in"},
			{`sum(rate(voicemill_gateway_bytes_out_total[$__rate_interval]))`, "out"},
		}},
		{title: "Faults", unit: "none", queries: []query{
			{`sum(rate(voicemill_gateway_envelopes_failed_total[$__rate_interval]))`, "envelopes failed"},
			{`sum(rate(voicemill_gateway_requests_unanswered_total[$__rate_interval]))`, "unanswered"},
			{`sum(rate(voicemill_gateway_panics_total[$__rate_interval]))`, "panics"},
			{`sum(rate(voicemill_gateway_handshakes_failed_total[$__rate_interval]))`, "handshakes failed"},
		}},
	}},
	{title: "Scheduler", panels: []panel{
		{title: "Backlog", unit: "s", stacked: true, help: "Predicted audio that is still to be made.", queries: one(`voicemill:backlog_seconds:sum`, "{{pool}} {{class}}")},
		{title: "Time to work it off", unit: "s", help: "At the pace of the last five minutes.", queries: one(`voicemill:backlog_drain_seconds`, "{{pool}}")},
		{title: "Segments let out", unit: "none", queries: []query{
			{`sum by (pool, class) (rate(voicemill_scheduler_released_segments_total[$__rate_interval]))`, "{{pool}} {{class}}"},
			{`sum by (pool, class) (rate(voicemill_scheduler_swept_messages_total[$__rate_interval]))`, "again {{pool}} {{class}}"},
		}},
		{title: "Jobs", unit: "none", queries: []query{
			{`sum by (state) (rate(voicemill_scheduler_jobs_stored_total[$__rate_interval]))`, "stored {{state}}"},
			{`sum by (state) (rate(voicemill_worker_jobs_ended_total[$__rate_interval]))`, "ended {{state}}"},
		}},
		{title: "Planning", unit: "s", queries: one(`histogram_quantile(0.95, sum by (le) (rate(voicemill_scheduler_plan_duration_seconds_bucket[$__rate_interval])))`, "P95")},
		{title: "Callbacks", unit: "none", stacked: true, queries: one(`sum by (outcome) (rate(voicemill_scheduler_callback_attempts_total[$__rate_interval]))`, "{{outcome}}")},
		{title: "Deliveries into buckets", unit: "none", stacked: true, help: "Attempts at a job's files by how they ended; docs/delivery.md.", queries: one(`sum by (outcome) (rate(voicemill_scheduler_export_attempts_total[$__rate_interval]))`, "{{outcome}}")},
	}},
	{title: "Workers", panels: []panel{
		{title: "Speech, seconds a second", unit: "none", stacked: true, queries: one(`voicemill:speech_seconds:rate5m`, "{{pool}}")},
		{title: "Segments", unit: "none", queries: one(`sum by (pool, outcome) (rate(voicemill_worker_segments_total[$__rate_interval]))`, "{{pool}} {{outcome}}")},
		{title: "Engine errors", unit: "percentunit", help: "Tries of segments that brought no speech because of the engine.", queries: one(`voicemill:engine_error_ratio:rate5m`, "{{pool}}")},
		{title: "Errors by kind", unit: "none", queries: one(`sum by (pool, kind) (rate(voicemill_worker_segment_errors_total[$__rate_interval]))`, "{{pool}} {{kind}}")},
		{title: "Engine calls at once", unit: "none", help: "Seconds of engine calls in a second.", queries: one(`sum by (pool) (rate(voicemill_worker_engine_seconds_total[$__rate_interval]))`, "{{pool}}")},
		{title: "Segments of a call", unit: "none", queries: one(`sum by (pool) (rate(voicemill_worker_batch_segments_sum[$__rate_interval])) / sum by (pool) (rate(voicemill_worker_batch_segments_count[$__rate_interval]))`, "{{pool}}")},
		{title: "Assembly P95", unit: "s", queries: one(`histogram_quantile(0.95, sum by (kind, le) (rate(voicemill_worker_assembly_duration_seconds_bucket[$__rate_interval])))`, "{{kind}}")},
	}},
	{title: "Processes", panels: []panel{
		{title: "Memory", unit: "bytes", queries: one(`process_resident_memory_bytes{job=~"voicemill.*"}`, "{{job}} {{instance}}")},
		{title: "Processors", unit: "none", queries: one(`rate(process_cpu_seconds_total{job=~"voicemill.*"}[$__rate_interval])`, "{{job}} {{instance}}")},
		{title: "Descriptors", unit: "none", queries: one(`process_open_fds{job=~"voicemill.*"}`, "{{job}} {{instance}}")},
	}},
}
