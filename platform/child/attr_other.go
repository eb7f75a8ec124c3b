//go:build !linux

package child

import "syscall"

// procAttr leaves the end of a child to the end of its input.
func procAttr() *syscall.SysProcAttr { return nil }
