package streams_test

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// giveWay lets a process run only when a core has nothing else to do. It is for
// the clients, the relay and the bucket, which are on other machines wherever a
// gateway serves: here they would take its cores, and the measurement would be of
// how Linux shares two cores. Threads and processes made later are the same, so
// the probe is started before.
func giveWay(t *testing.T, pid int) {
	t.Helper()
	threads, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	require.NoError(t, err)
	idle := &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_IDLE}
	for _, thread := range threads {
		id, err := strconv.Atoi(thread.Name())
		require.NoError(t, err)
		if err := unix.SchedSetAttr(id, idle, 0); !errors.Is(err, unix.ESRCH) { // it may have ended
			require.NoError(t, err)
		}
	}
}
