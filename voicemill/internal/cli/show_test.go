package cli_test

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/voicemill/voicemill/api/jobdoc"
	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/voicemill/internal/cli"
)

// fill makes d a job about which there is everything to say.
func fill(d *jobdoc.Document) {
	d.State, d.Title, d.Language = job.StatePartial, "The Pilot’s Rule", "en"
	d.Labels = map[string]string{"shelf": "sea", "book": "pilot"}
	d.FinishedAt = &jobdoc.Time{Time: created.Add(72 * time.Second)}
	d.Progress = jobdoc.Progress{
		Segments: jobdoc.SegmentCounts{Total: 400, Done: 300, Reused: 99, Failed: 1},
		Chapters: jobdoc.ChapterCounts{Total: 3, Ready: 2}, AudioSeconds: 3725.2, Fraction: 1,
	}
	d.Chapters = []jobdoc.Chapter{
		{Ordinal: 1, Title: "The Bar", State: job.ChapterReady, AudioSeconds: 1800, Artifact: "chapter-001.wav"},
		{Ordinal: 2, Title: "水先案内人", State: job.ChapterReady, AudioSeconds: 1925.2, Artifact: "chapter-002.wav"},
		{Ordinal: 3, Title: strings.Repeat("A long title ", 9), State: job.ChapterFailed, Error: &jobdoc.Error{Kind: "engine", Detail: "A segment could not be spoken."}},
	}
	d.Artifacts = []jobdoc.Artifact{
		{Name: "chapter-001.wav", MediaType: "audio/wav", Bytes: 79_380_044, SHA256: strings.Repeat("0", 64), AudioSeconds: 1800},
		{Name: "manifest.json", MediaType: "application/json", Bytes: 812, SHA256: strings.Repeat("1", 64)},
	}
	d.Failures = []jobdoc.Failure{{Segment: 17, Chapter: 3, Kind: "engine", Detail: "The engine spoke nothing.", Attempts: 3}}
	d.Quality = &job.Quality{Verify: job.VerifyAll, Segments: 399, Heard: 398, Words: 8000, WordErrors: 204, WordErrorRate: .0255}
	d.Quality.Doubt(job.Doubt{Segment: 31, Chapter: 2, StartSeconds: 71.2, Kind: "missing", Text: "The pilot came aboard at noon, and went below.", Heard: "The pilot came aboard.", Tries: 3})
	d.Usage = jobdoc.Usage{Characters: 51234, AudioSeconds: 3725.2, GPUSeconds: 12.25, ReusedSeconds: 900}
}

func TestStatusShowsEverything(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.change(fill)
	got := runCommand(t, s.URL, "", "status", string(testID))
	if got.code != 0 {
		t.Fatalf("status = %d, %q", got.code, got.errOut)
	}
	golden(t, "status.txt", got.out)
	asJSON := runCommand(t, s.URL, "", "status", string(testID), "--json")
	var d jobdoc.Document
	if err := json.Unmarshal([]byte(asJSON.out), &d); err != nil || d.Title != "The Pilot’s Rule" || strings.Count(asJSON.out, "\n") != 1 {
		t.Errorf("status --json = %q, %v; want one document", asJSON.out, err)
	}
}

func TestListPagesAndFilters(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	item := s.job
	fill(&item)
	item.Chapters, item.Artifacts, item.Failures = nil, nil, nil
	second := s.job
	second.State = job.StateAccepted
	s.page = map[string]jobPage{"": {Items: []jobdoc.Document{item}, Next: "c1"}, "c1": {Items: []jobdoc.Document{second}}}
	got := runCommand(t, s.URL, "", "list", "--all", "--state", "partial,accepted", "--label", "book=pilot", "--after", "24h")
	if got.code != 0 {
		t.Fatalf("list = %d, %q", got.code, got.errOut)
	}
	golden(t, "list.txt", got.out)
	one := runCommand(t, s.URL, "", "list", "--limit", "1")
	if strings.Count(one.out, "job_") != 1 || !strings.Contains(one.errOut, "--all") {
		t.Errorf("list --limit 1 = %q, %q; want one job and a hint", one.out, one.errOut)
	}
	lines := runCommand(t, s.URL, "", "list", "--all", "--json")
	if strings.Count(lines.out, "\n") != 2 {
		t.Errorf("list --json = %q; want two documents, one a line", lines.out)
	}
	s.page = nil
	if none := runCommand(t, s.URL, "", "list"); none.out != "" || none.code != 0 {
		t.Errorf("list of nothing = %d, %q; want no output", none.code, none.out)
	}
}

func TestCancelSaysWhatTheJobIsNow(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	if got := runCommand(t, s.URL, "", "cancel", string(testID)); got.code != 0 || got.out != string(testID)+" cancelled\n" {
		t.Errorf("cancel = %d, %q", got.code, got.out)
	}
	s.change(func(d *jobdoc.Document) { d.State = job.StateSucceeded })
	if got := runCommand(t, s.URL, "", "cancel", string(testID)); got.code != 0 || !strings.Contains(got.out, "already ended: succeeded") {
		t.Errorf("cancel of an ended job = %d, %q", got.code, got.out)
	}
}

func TestKeysAndVoices(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	created := runCommand(t, s.URL, "", "keys", "create", "--name", "laptop", "--scope", "jobs:read")
	if created.out != "vm_zyxwvutsrqponmlkjihgfedcba\n" || !strings.Contains(created.errOut, "key_2") {
		t.Errorf("keys create = %q, %q; want the secret alone on standard output", created.out, created.errOut)
	}
	golden(t, "keys.txt", runCommand(t, s.URL, "", "keys", "list").out)
	golden(t, "voices.txt", runCommand(t, s.URL, "", "voices").out)
	if got := runCommand(t, s.URL, "", "voices", "--language", "en", "--json"); !strings.Contains(got.out, `"amy"`) || strings.Contains(got.out, "karl") {
		t.Errorf("voices --language en --json = %q; want amy alone", got.out)
	}
	if got := runCommand(t, s.URL, "", "keys", "revoke", "key_1"); got.code != 0 || got.out != "key_1 revoked\n" {
		t.Errorf("keys revoke = %d, %q", got.code, got.out)
	}
}

func TestSubmitWithWaitFollowsToTheEnd(t *testing.T) {
	t.Parallel()
	for name, args := range map[string][]string{"lines": nil, "documents": {"--json"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t)
			s.change(fill)
			got := runCommand(t, s.URL, "Hello.", append([]string{"submit", "-", "--wait"}, args...)...)
			if got.code != cli.ExitPartial || strings.Count(got.out, "partial") == 0 {
				t.Errorf("submit --wait = %d, %q, %q; want %d and the end", got.code, got.out, got.errOut, cli.ExitPartial)
			}
			if name == "documents" {
				if n := strings.Count(got.out, "\n"); n != 2 || got.errOut != "" {
					t.Errorf("%d lines and %q; want the accepted and the ended job", n, got.errOut)
				}
			}
		})
	}
}

func TestCtrlCLeavesTheJobAndSaysHowToGoOn(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	ctx, cancel := context.WithCancel(t.Context())
	s.onPoll = cancel
	got := runWith(ctx, map[string]string{"VOICEMILL_URL": s.URL, "VOICEMILL_KEY": testKey}, "", "watch", string(testID))
	if got.code != cli.ExitInterrupted || !strings.Contains(got.errOut, "The job goes on. See it again with: voicemill watch "+string(testID)) {
		t.Errorf("watch = %d, %q", got.code, got.errOut)
	}
	if slices.Contains(s.asked, "POST /v1/jobs/"+string(testID)+"/cancel") {
		t.Error("the job was cancelled")
	}
}
