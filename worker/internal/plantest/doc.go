// Package plantest puts planned jobs into a test's database, and moves them as
// the scheduler does: it releases segments and publishes what became due. It is
// for tests only.
package plantest
