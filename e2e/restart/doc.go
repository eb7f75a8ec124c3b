// Package restart replaces the running gateway by a new process, and restarts
// it, while clients go on. A replacement must fail no request; a restart must
// lose no job that was accepted.
package restart
