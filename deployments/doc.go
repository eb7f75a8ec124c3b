// Package deployments is where everything lives that runs voicemill elsewhere:
// images, compose files, systemd units, the Helm chart, dashboards and alerts.
// It has no code of its own; the tests in its folders hold every file against
// the services' own settings, so that neither can drift from the other.
package deployments
