package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/voicemill/voicemill/e2e/internal/onebox"
	"github.com/voicemill/voicemill/e2e/internal/proctree"
)

// voice is what the API says of one.
type voice struct {
	Name     string `json:"name"`
	Language string `json:"language"`
	Engine   string `json:"engine"`
	Licence  string `json:"licence"`
}

func listed(ctx context.Context, bin string, box *onebox.Box) (map[string]voice, error) {
	list := exec.CommandContext(ctx, filepath.Join(bin, "voicemill"), "--url", box.URL, "--key-file", box.KeyFile, "--json", "voices") //nolint:gosec // built by make
	list.Stderr = os.Stderr
	out, err := list.Output()
	if err != nil {
		return nil, fmt.Errorf("list the voices: %w", err)
	}
	all := map[string]voice{}
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var v voice
		if err := d.Decode(&v); errors.Is(err, io.EOF) {
			return all, nil
		} else if err != nil {
			return nil, fmt.Errorf("list the voices: %w", err)
		}
		all[v.Name] = v
	}
}

// patience is with one voice: one that cannot speak is waited for by its pool for ever.
const patience = 20 * time.Minute

// hear has a voice read its passage and returns its row.
func (t table) hear(ctx context.Context, box *onebox.Box, dir string, v voice) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	language, _, _ := strings.Cut(v.Language, "-")
	passage, ok := passages[language]
	if !ok {
		return "", fmt.Errorf("there is no passage in %s", v.Language)
	}
	document := filepath.Join(dir, v.Name+".txt")
	if err := os.WriteFile(document, []byte(passage), 0o600); err != nil {
		return "", err
	}
	before := spent(box, v)
	doc, err := box.Submit(ctx, t.bin, document, "--voice", v.Name, "--language", v.Language, "--verify", "all", "--on-doubt", "deliver",
		"--pause-sentence", "0", "--pause-paragraph", "0", "--pause-chapter", "0")
	if err != nil {
		return "", err
	}
	after := spent(box, v)
	if doc.Quality == nil || doc.Quality.Heard != doc.Quality.Segments {
		return "", fmt.Errorf("not all of it was heard (%+v); the ear is installed by scripts/setup run", doc.Quality)
	}
	level, err := loudness(ctx, box, string(doc.ID), doc.Chapters[0].Artifact)
	if err != nil {
		return "", err
	}
	minutes := doc.Progress.AudioSeconds / 60
	return fmt.Sprintf("| `%s` | %s | %s | %.0f | %.0f | %.1f | %.3f (%d of %d) | %.1f | %.0f MB | %s |", v.Name, model(v), v.Language,
		float64(len(strings.Fields(passage)))/minutes, float64(utf8.RuneCountInString(passage))/minutes, level,
		doc.Quality.WordErrorRate, doc.Quality.WordErrors, doc.Quality.Words,
		doc.Progress.AudioSeconds/(after.cpu-before.cpu).Seconds(), float64(after.peak)/1e6, cmp.Or(v.Licence, "–")), nil
}

// model is what of an engine's description tells it from others.
func model(v voice) string {
	name, _, _ := strings.Cut(v.Engine, " (")
	return name
}

// cost is what the helpers of a voice have taken.
type cost struct {
	cpu  time.Duration
	peak int64 // bytes
}

func spent(box *onebox.Box, v voice) (c cost) {
	for _, p := range proctree.Below(box.PID) {
		if helps(p, v) {
			c.cpu, c.peak = c.cpu+p.CPU, max(c.peak, p.Field("VmHWM"))
		}
	}
	return c
}

// helps reports whether p is a helper that speaks with v.
func helps(p proctree.Process, v voice) bool {
	name, _, _ := strings.Cut(v.Engine, " ")
	if name == "espeak-ng" {
		return strings.HasPrefix(p.Name, "voicemill-espea")
	}
	return strings.HasPrefix(p.Name, "voicemill-neur") && strings.Contains(p.Command(), "/"+name+"/")
}

var integrated = regexp.MustCompile(`(?s)Integrated loudness:\s+I:\s+(-?[\d.]+) LUFS`)

// loudness has ffmpeg, which is not ours, measure a file of a job.
func loudness(ctx context.Context, box *onebox.Box, id, artifact string) (lufs float64, err error) {
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, box.URL+"/v1/jobs/"+id+"/artifacts/"+artifact, nil)
	if err != nil {
		return 0, err
	}
	q.Header.Set("Authorization", "Bearer "+box.Key)
	answer, err := http.DefaultClient.Do(q)
	if err != nil {
		return 0, err
	}
	defer answer.Body.Close() //nolint:errcheck // only read
	if answer.StatusCode != http.StatusOK {
		return 0, fmt.Errorf("get %s: status %d", artifact, answer.StatusCode)
	}
	meter := exec.CommandContext(ctx, "ffmpeg", "-hide_banner", "-nostats", "-i", "pipe:0", "-af", "ebur128", "-f", "null", "-")
	meter.Stdin = answer.Body
	said, err := meter.CombinedOutput()
	if err != nil {
		return 0, fmt.Errorf("measure %s: %w: %s", artifact, err, said)
	}
	m := integrated.FindAllSubmatch(said, -1)
	if len(m) == 0 {
		return 0, fmt.Errorf("ffmpeg measured nothing: %s", said)
	}
	_, err = fmt.Sscan(string(m[len(m)-1][1]), &lufs)
	return lufs, err
}
