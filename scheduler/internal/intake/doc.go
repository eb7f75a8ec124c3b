// Package intake moves accepted jobs from JOBS into Postgres.
//
// An envelope is one transaction. Only after it has committed is the envelope
// acknowledged, and that twice, so at every moment a job is in one place or
// the other (invariant I2). An envelope that comes again changes nothing.
//
// A job that Postgres will not take does not hold up its neighbours: they are
// stored one by one, and in the place of the broken one stands a failed job
// that says so. Only a job whose tenant has no valid name cannot be stored at
// all; it is logged whole enough to be found.
package intake
