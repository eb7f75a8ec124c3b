package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/voicemill/voicemill/e2e/internal/onebox"
	"github.com/voicemill/voicemill/e2e/internal/proctree"
	"github.com/voicemill/voicemill/platform/wav"
)

// voicemill speaks the chapter with so many helpers, or with as many as it takes by
// itself, from submit to the finished file. The processor time is that of everything:
// services, bus, bucket, Postgres and helpers, but for the command that submits.
func (b *bench) voicemill(ctx context.Context, s subject, helpers int) (t taken, err error) {
	threads := b.threads
	if helpers == 0 {
		threads = 0
	}
	pools := filepath.Join(b.dir, "pools.json")
	pool, err := json.Marshal(map[string]any{"pools": []any{map[string]any{
		"name": s.model, "engine": "neural", "neural": map[string]any{"model": s.model, "models_dir": b.models, "helpers": helpers, "threads": threads},
	}}})
	if err != nil {
		return t, err
	}
	if err := os.WriteFile(pools, pool, 0o600); err != nil {
		return t, err
	}
	warm := filepath.Join(b.dir, "warm.txt")
	if err := os.WriteFile(warm, []byte("All is well."), 0o600); err != nil {
		return t, err
	}
	return t, onebox.Run(ctx, b.bin, func(box *onebox.Box) error {
		if _, err := box.Submit(ctx, b.bin, warm, "--voice", s.voice); err != nil {
			return err
		}
		began, before := time.Now(), spent(box.PID)
		doc, err := box.Submit(ctx, b.bin, b.text, "--voice", s.voice, "--class", "bulk")
		if err != nil {
			return err
		}
		t.audio, t.wall, t.cpu = doc.Progress.AudioSeconds, time.Since(began), spent(box.PID)-before
		var program, helper, postgres int64
		for _, p := range proctree.Below(box.PID) {
			switch {
			case p.PID == box.PID:
				program = p.Field("VmHWM")
			case strings.HasPrefix(p.Name, "voicemill-neur"):
				helper += p.Field("VmHWM")
			case p.Name == "postgres":
				postgres += p.Share()
			}
		}
		t.peak = program + helper + postgres
		t.note = fmt.Sprintf("program %.0f, helpers %.0f, Postgres %.0f", float64(program)/1e6, float64(helper)/1e6, float64(postgres)/1e6)
		return nil
	}, "--pools-file", pools)
}

// spent is the processor time of a box and of all that it started.
func spent(root int) time.Duration {
	rest, postgres := proctree.Spent(root)
	return rest + postgres
}

// library has the library alone speak the chapter. What it loads is not in the times.
func (b *bench) library(ctx context.Context, s subject) (t taken, err error) {
	voices, err := b.voices(ctx)
	if err != nil {
		return t, err
	}
	speak := exec.CommandContext(ctx, filepath.Join(b.peers, "library", "bin", "python"), b.script, //nolint:gosec // installed by scripts/setup
		s.library, filepath.Join(b.models, s.model), s.voice, strconv.Itoa(b.threads), b.text)
	speak.Env = append(os.Environ(), "VOICES="+voices)
	speak.Stderr = os.Stderr
	out, err := speak.Output()
	if err != nil {
		return t, fmt.Errorf("%s alone: %w", s.library, err)
	}
	var said struct {
		Load  float64 `json:"load_seconds"`
		Wall  float64 `json:"seconds"`
		CPU   float64 `json:"cpu_seconds"`
		Audio float64 `json:"audio_seconds"`
		Peak  int64   `json:"peak_bytes"`
	}
	if err := json.Unmarshal(out, &said); err != nil {
		return t, fmt.Errorf("read what %s took: %w", s.library, err)
	}
	return taken{
		audio: said.Audio, wall: seconds(said.Wall), cpu: seconds(said.CPU), peak: said.Peak, note: fmt.Sprintf("loaded in %.1f s before", said.Load),
	}, nil
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// voices returns the archive of voices that kokoro-onnx reads, made of what is installed.
func (b *bench) voices(ctx context.Context) (string, error) {
	path := filepath.Join(b.dir, "voices.npz")
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	pack := exec.CommandContext(ctx, filepath.Join(b.peers, "library", "bin", "python"), b.script, "pack", filepath.Join(b.models, "kokoro"), path) //nolint:gosec // likewise
	pack.Stderr = os.Stderr
	return path, pack.Run()
}

// command has kokoro-tts speak the chapter: the whole process, as one has to start it
// for each book.
func (b *bench) command(ctx context.Context, s subject) (t taken, err error) {
	voices, err := b.voices(ctx)
	if err != nil {
		return t, err
	}
	out := filepath.Join(b.dir, "out.wav")
	speak := exec.CommandContext(ctx, filepath.Join(b.peers, "command", "bin", "kokoro-tts"), b.text, out, "--voice", s.voice, //nolint:gosec // likewise
		"--lang", "en-us", "--format", "wav", "--model", filepath.Join(b.models, s.model, "model.onnx"), "--voices", voices)
	began := time.Now()
	if said, err := speak.CombinedOutput(); err != nil {
		return t, fmt.Errorf("kokoro-tts: %w: %s", err, said)
	}
	t.wall, t.cpu = time.Since(began), speak.ProcessState.UserTime()+speak.ProcessState.SystemTime()
	if u, ok := speak.ProcessState.SysUsage().(*syscall.Rusage); ok {
		t.peak = u.Maxrss << 10
	}
	f, err := os.Open(out) //nolint:gosec // in our folder
	if err != nil {
		return t, err
	}
	defer f.Close() //nolint:errcheck // only read
	r, err := wav.NewReader(f)
	if err != nil {
		return t, fmt.Errorf("what kokoro-tts wrote: %w", err)
	}
	samples, _ := r.Samples()
	t.audio = float64(samples) / float64(r.Rate)
	t.note = "its start is in it"
	return t, os.Remove(out)
}
