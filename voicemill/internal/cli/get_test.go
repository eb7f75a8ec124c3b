package cli_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/voicemill/voicemill/api/jobdoc"
	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/voicemill/internal/cli"
)

// finished returns a server whose job has ended in state with three files.
func finished(t *testing.T, state job.State) (s *server, content []byte) {
	t.Helper()
	s = newServer(t)
	content = bytes.Repeat([]byte("RIFF"), 300_000)
	s.addFile("chapter-001.wav", content)
	s.addFile("chapter-002.wav", []byte("short"))
	s.addFile("manifest.json", []byte("{}"))
	s.change(func(d *jobdoc.Document) { d.State = state })
	return s, content
}

func folder(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return strings.Join(all, " ")
}

func TestGetFetchesEveryFile(t *testing.T) {
	t.Parallel()
	s, content := finished(t, job.StateSucceeded)
	dir := filepath.Join(t.TempDir(), "new", "folder")
	got := runCommand(t, s.URL, "", "get", string(testID), "--out", dir)
	if got.code != 0 {
		t.Fatalf("get = %d, %q", got.code, got.errOut)
	}
	golden(t, "get.txt", strings.ReplaceAll(got.out, dir, "DIR"))
	if got := folder(t, dir); got != "chapter-001.wav chapter-002.wav manifest.json" {
		t.Errorf("folder = %q", got)
	}
	if b, err := os.ReadFile(filepath.Join(dir, "chapter-001.wav")); err != nil || !bytes.Equal(b, content) {
		t.Errorf("chapter-001.wav has %d bytes, %v", len(b), err)
	}
	again := runCommand(t, s.URL, "", "get", string(testID), "manifest.json", "manifest.json", "--out", dir, "--json")
	golden(t, "get.json", strings.ReplaceAll(again.out, dir, "DIR"))
}

func TestGetGoesOnAfterABrokenTransfer(t *testing.T) {
	t.Parallel()
	s, content := finished(t, job.StateSucceeded)
	s.cut = 100_000
	dir := t.TempDir()
	got := runCommand(t, s.URL, "", "get", string(testID), "chapter-001.wav", "--out", dir)
	if got.code != 0 || folder(t, dir) != "chapter-001.wav" {
		t.Errorf("get = %d, %q; folder %q", got.code, got.errOut, folder(t, dir))
	}
	if b, _ := os.ReadFile(filepath.Join(dir, "chapter-001.wav")); !bytes.Equal(b, content) {
		t.Error("the file is not the job's")
	}
}

func TestGetRefusesWhatIsNotTheJobs(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(*server)
		before string // of chapter-002.wav in the folder
		code   int
		says   string
		leaves string
	}{
		"a corrupted body": {
			change: func(s *server) { s.files["chapter-002.wav"] = []byte("shorT") },
			code:   cli.ExitUnexpected, says: "chapter-002.wav arrived damaged",
		},
		"a body that is too long": {
			change: func(s *server) { s.files["chapter-002.wav"] = []byte("short and more") },
			code:   cli.ExitUnexpected, says: "arrived damaged",
		},
		"a file that the bucket has lost": {
			change: func(s *server) { delete(s.files, "chapter-002.wav") }, code: cli.ExitRefused, says: "404", leaves: "chapter-002.wav.part",
		},
		"a file of the user": {before: "diary", code: cli.ExitUsage, says: "--force", leaves: "chapter-002.wav"},
		"a name that leaves the folder": {
			change: func(s *server) { s.job.Artifacts[2].Name = "../../evil" }, code: cli.ExitUnexpected, says: "could leave the folder",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, _ := finished(t, job.StateSucceeded)
			if c.change != nil {
				c.change(s)
			}
			dir := t.TempDir()
			if c.before != "" {
				if err := os.WriteFile(filepath.Join(dir, "chapter-002.wav"), []byte(c.before), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			got := runCommand(t, s.URL, "", "get", string(testID), "chapter-002.wav", "--out", dir)
			if got.code != c.code || !strings.Contains(got.errOut, c.says) || got.out != "" {
				t.Errorf("get = %d, %q, %q; want %d and %q", got.code, got.out, got.errOut, c.code, c.says)
			}
			if got := folder(t, dir); got != c.leaves {
				t.Errorf("folder = %q; want %q", got, c.leaves)
			}
		})
	}
}

func TestGetOfAJobThatIsNotWholeSaysSo(t *testing.T) {
	t.Parallel()
	for state, want := range map[job.State]int{
		job.StateRunning: cli.ExitPartial, job.StatePartial: cli.ExitPartial,
		job.StateFailed: cli.ExitJobFailed, job.StateSucceeded: cli.ExitDone,
	} {
		t.Run(string(state), func(t *testing.T) {
			t.Parallel()
			s, _ := finished(t, state)
			dir := t.TempDir()
			if got := runCommand(t, s.URL, "", "get", string(testID), "--out", dir); got.code != want {
				t.Errorf("get = %d, %q; want %d", got.code, got.errOut, want)
			}
			if got := folder(t, dir); got != "chapter-001.wav chapter-002.wav manifest.json" {
				t.Errorf("folder = %q; want every file there is", got)
			}
		})
	}
}
