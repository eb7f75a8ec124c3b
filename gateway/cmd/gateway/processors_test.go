package main

import (
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
)

// It is not parallel, because the number of processors is the process's.
func TestProcessorsAreDoubledUnlessTheEnvironmentSaysHowMany(t *testing.T) {
	before := runtime.GOMAXPROCS(0)
	defer runtime.GOMAXPROCS(before)
	spareProcessors(func(string) (string, bool) { return "3", true })
	require.Equal(t, before, runtime.GOMAXPROCS(0))
	spareProcessors(func(string) (string, bool) { return "", false })
	require.Equal(t, 2*before, runtime.GOMAXPROCS(0))
}
