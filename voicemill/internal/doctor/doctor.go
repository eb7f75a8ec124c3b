// Package doctor checks that this machine has what voicemill runs on, and names
// for each thing that is missing the command that puts it there. It changes nothing.
package doctor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/embed/pgd"
	"github.com/voicemill/voicemill/platform/ffmpeg"
	"github.com/voicemill/voicemill/platform/seal"
	"github.com/voicemill/voicemill/platform/weights"
	"github.com/voicemill/voicemill/worker"
)

const (
	programTimeout = 5 * time.Second
	minOpenFiles   = 4096    // below this a front door refuses clients early
	minFreeBytes   = 1 << 30 // an hour of 24 kHz speech takes 173 MB
	helperName     = "voicemill-espeak"
)

// Finding is the outcome of one check.
type Finding struct {
	Name     string `json:"name"`
	OK       bool   `json:"ok"`
	Required bool   `json:"required"` // without it `voicemill up` cannot do its work
	Detail   string `json:"detail"`
	Fix      string `json:"fix,omitempty"` // a command, or a sentence
}

// Check runs every check. dataDir is where `voicemill up` would keep its state, and
// modelsDir where it would find neural voices; neither need exist. bucketKeys are the keys for
// credentials of buckets, as the setting of that name has them; there need be none.
func Check(ctx context.Context, dataDir, modelsDir, bucketKeys string) []Finding {
	return []Finding{
		postgres(ctx),
		program(ctx, "espeak-ng", true, "apt-get install espeak-ng", "--version"),
		espeakHelper(),
		encoders(ctx),
		neuralVoices(modelsDir),
		ear(modelsDir),
		sealing(bucketKeys),
		openFiles(),
		dataFolder(dataDir),
	}
}

// Healthy reports whether nothing required is missing.
func Healthy(findings []Finding) bool {
	for _, f := range findings {
		if f.Required && !f.OK {
			return false
		}
	}
	return true
}

// Print writes findings for a person, one line each and one more for a fix.
func Print(w io.Writer, findings []Finding) error {
	for _, f := range findings {
		mark := "ok     "
		switch {
		case !f.OK && f.Required:
			mark = "MISSING"
		case !f.OK:
			mark = "advice "
		}
		if _, err := fmt.Fprintf(w, "%s  %-17s %s\n", mark, f.Name, f.Detail); err != nil {
			return fmt.Errorf("print the findings: %w", err)
		}
		if f.Fix != "" && !f.OK {
			if _, err := fmt.Fprintf(w, "         %-17s → %s\n", "", f.Fix); err != nil {
				return fmt.Errorf("print the findings: %w", err)
			}
		}
	}
	return nil
}

func postgres(ctx context.Context) Finding {
	f := Finding{Name: "PostgreSQL", Required: true, Fix: "apt-get install postgresql"}
	dir, err := pgd.FindBinaries("", "")
	if err != nil {
		f.Detail = err.Error()
		return f
	}
	version, err := firstLine(ctx, filepath.Join(dir, "postgres"), "--version")
	if err != nil {
		f.Detail = fmt.Sprintf("%s does not run: %v", filepath.Join(dir, "postgres"), err)
		return f
	}
	f.OK, f.Detail = true, fmt.Sprintf("%s in %s", version, dir)
	return f
}

func program(ctx context.Context, name string, required bool, fix, versionFlag string) Finding {
	f := Finding{Name: name, Required: required, Fix: fix}
	path, err := exec.LookPath(name)
	if err != nil {
		f.Detail = "is not in PATH"
		return f
	}
	version, err := firstLine(ctx, path, versionFlag)
	if err != nil {
		f.Detail = fmt.Sprintf("%s does not run: %v", path, err)
		return f
	}
	f.OK, f.Detail = true, version
	return f
}

// encoders looks for ffmpeg and what makes the formats beside WAV.
func encoders(ctx context.Context) Finding {
	f := program(ctx, "ffmpeg", false, "apt-get install ffmpeg", "-version")
	if !f.OK {
		return f
	}
	found, err := ffmpeg.Find(ctx, "ffmpeg")
	if err != nil {
		f.OK, f.Detail = false, err.Error()
		return f
	}
	if lacking := worker.LackingEncoders(found); len(lacking) > 0 {
		f.OK, f.Detail = false, fmt.Sprintf("%s lacks the encoders %s: jobs can have WAV only", found.Path, strings.Join(lacking, ", "))
		f.Fix = "install a build of ffmpeg that has them"
	}
	return f
}

// espeakHelper looks where the worker looks: beside this program, then in PATH.
func espeakHelper() Finding {
	f := Finding{Name: helperName, Required: true, Fix: "make build"}
	if self, err := os.Executable(); err == nil {
		beside := filepath.Join(filepath.Dir(self), helperName)
		if info, err := os.Stat(beside); err == nil && info.Mode()&0o111 != 0 {
			f.OK, f.Detail = true, beside
			return f
		}
	}
	path, err := exec.LookPath(helperName)
	if err != nil {
		f.Detail = "is neither beside this program nor in PATH"
		return f
	}
	f.OK, f.Detail = true, path
	return f
}

// neuralVoices tells which neural voices speak, and what is in their way.
func neuralVoices(dir string) Finding {
	f := Finding{Name: "neural voices", Fix: "voicemill models install joe"}
	catalogue, err := weights.OpenCatalogue("")
	if err != nil {
		f.Detail = err.Error()
		return f
	}
	models, err := weights.Open(dir).Voices(catalogue)
	switch {
	case err != nil:
		f.Detail = err.Error()
		return f
	case len(models) == 0:
		f.Detail = "none in " + dir + "; espeak-ng speaks"
		return f
	}
	var names []string
	for _, m := range models {
		names = append(names, m.Name)
	}
	if library, err := weights.Open(dir).Get(weights.Library); err != nil || library.Verify() != nil {
		f.Detail, f.Fix = strings.Join(names, ", ")+", but not the library that runs them", library.Mend()
		return f
	}
	f.OK, f.Detail = true, strings.Join(names, ", ")+" in "+dir
	return f
}

// ear tells what hears back what was spoken, or what is missing for it.
func ear(modelsDir string) Finding {
	f := Finding{Name: "ear"}
	what, err := worker.DefaultEarConfig().FindEar(modelsDir)
	if err == nil {
		f.OK, f.Detail = true, what
		return f
	}
	f.Detail = job.PublicOf(err, err.Error())
	if detail, fix, ok := strings.Cut(f.Detail, ": "); ok && job.KindOf(err) == job.NotFound {
		f.Detail, f.Fix = detail+", so nothing is heard back", fix
	}
	return f
}

// sealing looks for what credentials of owners' buckets are encrypted with.
func sealing(keys string) Finding {
	f := Finding{Name: "bucket keys", Fix: "export VOICEMILL_BUCKET_KEYS=2026:$(openssl rand -base64 32), and keep it: docs/delivery.md"}
	parsed, err := seal.Parse(keys)
	switch {
	case err != nil:
		f.Detail = "VOICEMILL_BUCKET_KEYS cannot be used: " + err.Error()
	case !parsed.Any():
		f.Detail = "none in VOICEMILL_BUCKET_KEYS: files cannot be delivered into buckets of their owners"
	default:
		f.OK, f.Detail = true, "credentials of owners' buckets can be kept encrypted"
	}
	return f
}

func openFiles() Finding {
	f := Finding{Name: "open files", Fix: fmt.Sprintf("raise the limit: ulimit -n %d", minOpenFiles)}
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		f.Detail = err.Error()
		return f
	}
	f.OK, f.Detail = limit.Cur >= minOpenFiles, fmt.Sprintf("at most %d a process", limit.Cur)
	return f
}

// dataFolder checks the nearest folder that exists at or above dir.
func dataFolder(dir string) Finding {
	f := Finding{Name: "data folder", Required: true, Fix: "choose another with --data"}
	abs, err := filepath.Abs(dir)
	if err != nil {
		f.Detail = err.Error()
		return f
	}
	existing := abs
	for {
		info, err := os.Stat(existing)
		if err == nil && !info.IsDir() {
			f.Detail = existing + " is not a folder"
			return f
		}
		if err == nil {
			break
		}
		if !errors.Is(err, os.ErrNotExist) || existing == filepath.Dir(existing) {
			f.Detail = err.Error()
			return f
		}
		existing = filepath.Dir(existing)
	}
	var fs syscall.Statfs_t
	if err := syscall.Statfs(existing, &fs); err != nil {
		f.Detail = fmt.Sprintf("%s: %v", existing, err)
		return f
	}
	free := fs.Bavail * uint64(fs.Bsize) //nolint:gosec // a block size is positive
	f.Detail = fmt.Sprintf("%s, %.1f GB free", abs, float64(free)/1e9)
	f.OK = free >= minFreeBytes
	return f
}

func firstLine(ctx context.Context, path string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, programTimeout)
	defer cancel()
	out, err := exec.CommandContext(ctx, path, args...).Output() //nolint:gosec // a program that was looked up by a fixed name
	if err != nil {
		return "", err
	}
	line, _, _ := strings.Cut(string(out), "\n")
	return strings.TrimSpace(line), nil
}
