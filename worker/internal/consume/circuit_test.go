package consume

import (
	"testing"
	"time"
)

func TestPausesGrowAndEnd(t *testing.T) {
	t.Parallel()
	b := Backoff{Min: time.Second, Max: 30 * time.Second}
	var c circuit
	now := time.UnixMilli(0)
	for i, seconds := range []int{1, 2, 4, 8, 16, 30, 30, 30} {
		c.fail(now, b)
		open, left := c.open(now)
		if want := time.Duration(seconds) * time.Second; !open || left < want*3/4 || left > want*5/4 {
			t.Errorf("pause %d is %s; want about %s", i, left, want)
		}
		now = now.Add(left)
		if open, _ := c.open(now); open || !c.probing() {
			t.Errorf("after pause %d: open %t, probing %t; want a probe", i, open, c.probing())
		}
	}
	c.succeed()
	if open, _ := c.open(now); open || c.probing() {
		t.Error("a success did not close the circuit")
	}
}

func TestCallsSideBySideMeetOneOutage(t *testing.T) {
	t.Parallel()
	b := Backoff{Min: time.Second, Max: 30 * time.Second}
	var c circuit
	now := time.UnixMilli(0)
	for range 10 {
		c.fail(now, b)
	}
	if _, left := c.open(now); left > 2*time.Second {
		t.Errorf("ten failures at once pause for %s; want the first pause", left)
	}
}
