//go:build !linux

package espeak

import (
	"errors"
	"syscall"
)

// procAttr leaves the end of a helper to the end of its input.
func procAttr() *syscall.SysProcAttr { return nil }

func isBrokenPipe(err error) bool { return errors.Is(err, syscall.EPIPE) }
