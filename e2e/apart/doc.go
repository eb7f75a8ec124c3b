// Package apart starts everything apart, all at once on empty servers, with the
// files of deployments/apart: three NATS servers, Postgres, an S3, a gateway and two
// each of scheduler and worker, every one a process of its own.
package apart
