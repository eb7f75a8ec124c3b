// Package testkit gives tests the real parts: a Postgres database with the
// schema, a JetStream server, an S3 bucket. Each test gets its own; nothing is
// shared but the programs behind them, of which a test process has one each.
// A program that is not installed fails the test and names the command that
// installs it.
//
// A package whose tests use testkit and look for leaks ends its tests with
//
//	func TestMain(m *testing.M) { testkit.Main(m) }
//
// which stops the programs and then checks that no goroutine is left. Without
// it they end with the process all the same, and their files are removed.
package testkit
