package worker

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/worker/internal/plantest"
)

// ask has a job ask for formats before anything of it is spoken.
func (w *world) ask(t *testing.T, id job.ID, formats ...string) {
	t.Helper()
	_, err := w.db.Exec(t.Context(), `update jobs set spec = jsonb_set(spec, '{output}', jsonb_build_object('formats', $2::text[])) where id = $1`, id, formats)
	require.NoError(t, err)
}

// killer kills processes of ffmpeg that this process started, until there were
// so many. It looks for them all the time: they are short-lived.
func killer(t *testing.T, times int) (killed func() int) {
	t.Helper()
	quit, done := make(chan struct{}), make(chan int, 1)
	go func() {
		n := 0
		defer func() { done <- n }()
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for n < times {
			select {
			case <-quit:
				return
			case <-tick.C:
			}
			if pid := childNamed("ffmpeg"); pid > 0 && syscall.Kill(pid, syscall.SIGKILL) == nil {
				n++
			}
		}
	}()
	return func() int { close(quit); return <-done }
}

// childNamed returns a process of that name whose parent this one is, or 0.
func childNamed(name string) int {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat") // the pattern is well-formed
	for _, path := range stats {
		raw, err := os.ReadFile(path) //nolint:gosec // of the kernel
		if err != nil {
			continue // it has ended
		}
		before, after, _ := strings.Cut(string(raw), "("+name+") ")
		fields := strings.Fields(after)
		if len(fields) < 2 || fields[0] == "Z" || fields[1] != strconv.Itoa(os.Getpid()) {
			continue
		}
		if pid, err := strconv.Atoi(strings.TrimSpace(before)); err == nil {
			return pid
		}
	}
	return 0
}

func TestAKilledFfmpegCostsNothingButTime(t *testing.T) {
	kills := 2
	if v := os.Getenv("VOICEMILL_ENCODE_KILLS"); v != "" {
		var err error
		kills, err = strconv.Atoi(v)
		require.NoError(t, err)
	}
	w := newWorld(t)
	w.start(t, quickConfig(), &scripted{}, nil)
	book := plantest.Book{}
	for n := range max(2, kills) {
		book.Chapters = append(book.Chapters, plantest.Sentences(fmt.Sprintf("Chapter %d", n+1), "a b c d e", "f g h i j"))
	}
	p := plantest.Insert(t, w.db, book)
	w.ask(t, p.ID, job.FormatM4B, job.FormatMP3)
	killed := killer(t, kills)
	plantest.Schedule(t, w.db, w.bus, p)
	state := plantest.AwaitEnd(t, w.db, p, 10*within)
	require.Equal(t, kills, killed())
	require.Equal(t, job.StateSucceeded, state)

	_, err := w.db.Exec(t.Context(), `update artifacts set made_of = null`) // so that all is made, and nothing copied
	require.NoError(t, err)
	undisturbed := plantest.Insert(t, w.db, book)
	w.ask(t, undisturbed.ID, job.FormatM4B, job.FormatMP3)
	plantest.Schedule(t, w.db, w.bus, undisturbed)
	require.Equal(t, job.StateSucceeded, plantest.AwaitEnd(t, w.db, undisturbed, 10*within))
	require.Equal(t, 3*len(book.Chapters)+2+1, w.number(t, `select count(*) from artifacts where job_id = $1`, p.ID))
	require.Zero(t, w.number(t, `select count(*) from artifacts a where job_id = $1 and name <> 'manifest.json'
		and not exists (select from artifacts b where b.job_id = $2 and b.name = a.name and b.sha256 = a.sha256)`, p.ID, undisturbed.ID), "a file is not what it is without a kill")
	require.Zero(t, w.number(t, `select count(*) from outbox`))

	m, signed := w.manifest(t, p.ID), map[string]string{}
	for _, f := range m.Files {
		signed[f.Name] = f.SHA256
	}
	for _, c := range m.Chapters {
		signed[c.Artifact] = c.SHA256
	}
	var names, sums []string
	require.NoError(t, w.db.QueryRow(t.Context(), `select array_agg(name), array_agg(encode(sha256, 'hex')) from artifacts
		where job_id = $1 and name <> 'manifest.json'`, p.ID).Scan(&names, &sums))
	stored := map[string]string{}
	for i, name := range names {
		stored[name] = sums[i]
	}
	require.Equal(t, stored, signed, "what is not signed, or other than it is")
}

func TestAnEncodingThatCannotBeDoneIsNamed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	cfg := quickConfig()
	cfg.FFmpeg = filepath.Join(t.TempDir(), "ffmpeg") // lists its encoders and makes nothing
	whole, err := exec.LookPath("ffmpeg")
	require.NoError(t, err)
	script := fmt.Sprintf("#!/bin/sh\ncase \"$*\" in *-encoders*) exec %s -hide_banner -encoders;; esac\necho broken >&2\nexit 1\n", whole)
	require.NoError(t, os.WriteFile(cfg.FFmpeg, []byte(script), 0o700)) //nolint:gosec // a program
	w.start(t, cfg, &scripted{}, nil)
	require.Eventually(t, func() bool { return w.number(t, `select count(*) from encoders`) == 4 }, within, 20*time.Millisecond)
	p := plantest.Insert(t, w.db, plantest.Book{Chapters: []plantest.Chapter{plantest.Sentences("One", "a b")}})
	w.ask(t, p.ID, job.FormatMP3)
	plantest.Schedule(t, w.db, w.bus, p)
	require.Equal(t, job.StateFailed, plantest.AwaitEnd(t, w.db, p, within))
	var detail string
	require.NoError(t, w.db.QueryRow(t.Context(), `select error_detail from jobs where id = $1`, p.ID).Scan(&detail))
	require.Equal(t, "Chapter 1: Encoding failed 5 times. ffmpeg could not make chapter-001.mp3.", detail)
	require.Equal(t, 1, w.number(t, `select count(*) from artifacts where name = 'chapter-001.wav'`), "what was joined is there")
}

func TestAWorkerWithoutFfmpegEncodesNothingAndSaysSo(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	cfg := quickConfig()
	cfg.FFmpeg = "no-such-program"
	w.start(t, cfg, &scripted{}, nil)
	require.Eventually(t, func() bool { return w.number(t, `select count(*) from voices`) > 0 }, within, 20*time.Millisecond)
	require.Zero(t, w.number(t, `select count(*) from encoders`))
}
