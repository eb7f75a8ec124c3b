// Package chart is the Helm chart. Its tests render it with Helm itself into
// Kubernetes' own types and hold settings, ports and probes against the commands.
package chart
