-- +goose Up

-- The state that vendors keep along a trace (W3C Trace Context), beside its traceparent.
alter table jobs add column tracestate text not null default '';
