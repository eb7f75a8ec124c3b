// Package storetest gives the tests of the scheduler a database with a tenant
// and voices in it, jobs in any state, and a worker's commit.
package storetest
