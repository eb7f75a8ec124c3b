// Package apart holds the settings of a whole voicemill on one machine without
// containers: three NATS servers, Postgres, an S3 over a folder (versitygw) and the
// services as plain programs, each with the environment files that it is started
// with. e2e/apart starts exactly these.
package apart
