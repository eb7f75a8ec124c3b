package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

// describe says where the figures come from.
func (b *bench) describe() {
	b.printf("%s, %s, load average %s\n", runtime.Version(), processor(), firstWord("/proc/loadavg"))
	b.printf("wrk on one processor, servers on another with GOMAXPROCS=1 or one event loop; medians of %d rounds of %s\n", b.rounds, b.length)
	if b.netty != "" {
		out, err := exec.Command("java", "-version").CombinedOutput() //nolint:noctx // returns at once
		if err == nil {
			line, _, _ := strings.Cut(string(out), "\n")
			b.printf("%s\n", line)
		}
	}
}

func processor() string {
	info, _ := os.ReadFile("/proc/cpuinfo")
	_, rest, _ := strings.Cut(string(info), "model name")
	line, _, _ := strings.Cut(rest, "\n")
	return strings.Trim(line, "\t :")
}

func firstWord(file string) string {
	text, _ := os.ReadFile(file)
	word, _, _ := strings.Cut(string(text), " ")
	return word
}

// binary shows the size of the gateway and how soon it serves.
func (b *bench) binary(ctx context.Context) error {
	const name = "gateway: size and start"
	if !b.wanted(name) {
		return nil
	}
	info, err := os.Stat(filepath.Join(b.bin, "gateway"))
	if err != nil {
		return err
	}
	var took []time.Duration
	for range 11 {
		begin := time.Now()
		s, err := b.gateway(ctx, false)
		if err != nil {
			return err
		}
		took = append(took, time.Since(begin))
		s.proc.stop()
	}
	slices.Sort(took)
	b.printf("\n%s\nstripped static binary %.1f MB; first request answered %.0f ms after the start of the process (median of %d, least %.0f)\n",
		name, float64(info.Size())/1e6, millis(took[len(took)/2]), len(took), millis(took[0]))
	return nil
}
