// Package meter counts what the worker does. Labels come from closed sets: the
// pools of the configuration, outcomes, error kinds.
package meter
