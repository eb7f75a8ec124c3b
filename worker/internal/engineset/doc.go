// Package engineset builds engines from the worker's configuration. It is the
// only place that knows every driver.
package engineset
