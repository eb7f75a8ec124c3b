// Package observed runs the services apart, lets a real Prometheus scrape them as
// deployments/observability says, and asks it everything that the dashboard, the
// rules and the alerts ask.
package observed
