// Package stage puts the real binaries of voicemill on a stage, each in a
// process of its own, so that a test can kill any of them at any moment: NATS,
// Postgres and S3 run in processes made from the test binary itself, gateway,
// scheduler and worker are the commands that users run.
package stage
