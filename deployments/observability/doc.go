// Package observability is what Prometheus and Grafana are told about voicemill:
// what to scrape, recording rules, alerts and one dashboard. Its tests hold the
// files against promtool; e2e/observed holds every expression against a
// Prometheus that scrapes the running services.
package observability

//go:generate go run ./internal/dashboard grafana/dashboards/voicemill.json
