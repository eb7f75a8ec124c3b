package cli_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/voicemill/voicemill/api/jobdoc"
	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/voicemill/internal/cli"
)

func TestSubmitSendsWhatTheFlagsSay(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	got := runCommand(t, s.URL, "", "submit", write(t, "Letter.MD", "# Hello\n\nWorld."), "--voice", "amy", "--language", "en-GB",
		"--speed", "1.25", "--seed", "7", "--instructions", "warm, unhurried", "--format", "wav", "--pause-chapter", "2", "--callback", "https://example.org/hook",
		"--callback-event", "job.failed", "--callback-event", "chapter.ready", "--label", "book=a;b=c", "--label", "n=1",
		"--class", "interactive", "--on-failure", "partial", "--verify", "sample", "--on-doubt", "deliver", "--idempotency-key", "once")
	if got.code != 0 || got.out != string(testID)+"\n" || got.errOut != "Next: voicemill watch "+string(testID)+"\n" {
		t.Errorf("submit = %d, %q, %q", got.code, got.out, got.errOut)
	}
	want := job.Spec{
		Input: job.Input{Text: "# Hello\n\nWorld.", Media: job.MediaMarkdown},
		Voice: "amy", Language: "en-GB", Speed: 1.25, Seed: 7, Instructions: "warm, unhurried", Class: job.Interactive, OnFailure: job.AllowPartial, Verify: job.VerifySample, OnDoubt: job.DeliverDoubtful,
		Output:   job.Output{Formats: []string{"wav"}, Pauses: &job.Pauses{Sentence: 0.35, Paragraph: 0.7, Chapter: 2}},
		Callback: &job.Callback{URL: "https://example.org/hook", Events: []string{"job.failed", "chapter.ready"}},
		Labels:   map[string]string{"book": "a;b=c", "n": "1"},
	}
	if diff := cmp.Diff(want, s.spec); diff != "" {
		t.Errorf("spec (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"once"}, s.keys); diff != "" {
		t.Errorf("Idempotency-Key (-want +got):\n%s", diff)
	}
}

func TestSubmitChoosesTheWayIn(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		file, content string
		args          []string
		upload        bool
		media         string
	}{
		"a small text goes inline":           {file: "a.txt", content: "Hello.", media: job.MediaText},
		"a small page goes inline":           {file: "a.html", content: "<p>Hello.", media: job.MediaHTML},
		"a large text is uploaded":           {file: "a.txt", content: strings.Repeat("Hello. ", 50_000), upload: true, media: job.MediaText},
		"an EPUB is uploaded whatever size":  {file: "a.epub", content: "PK", upload: true, media: job.MediaEPUB},
		"bytes that are not UTF-8 are too":   {file: "a.txt", content: "caf\xe9", upload: true, media: job.MediaText},
		"--media-type overrides":             {file: "a.txt", content: "PK", args: []string{"--media-type", job.MediaEPUB}, upload: true, media: job.MediaEPUB},
		"standard input is plain text":       {file: "-", content: "Hello.", media: job.MediaText},
		"standard input may be large":        {file: "-", content: strings.Repeat("Hello. ", 50_000), upload: true, media: job.MediaText},
		"standard input may be another type": {file: "-", content: "# Hello", args: []string{"--media-type", job.MediaMarkdown}, media: job.MediaMarkdown},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t)
			path, stdin := c.file, c.content
			if path != "-" {
				path, stdin = write(t, c.file, c.content), ""
			}
			if got := runCommand(t, s.URL, stdin, append([]string{"submit", path}, c.args...)...); got.code != 0 {
				t.Fatalf("submit = %d, %q", got.code, got.errOut)
			}
			want := job.Input{Text: c.content, Media: c.media}
			if c.upload {
				want = job.Input{Upload: "upl_1", Media: c.media}
				if !bytes.Equal(s.uploaded, []byte(c.content)) {
					t.Errorf("%d bytes were uploaded; want the document's %d", len(s.uploaded), len(c.content))
				}
			}
			if diff := cmp.Diff(want, s.spec.Input); diff != "" {
				t.Errorf("input (-want +got):\n%s", diff)
			}
		})
	}
}

func TestAnUploadThatBreaksIsMadeAgain(t *testing.T) {
	t.Parallel()
	content := strings.Repeat("Hello. ", 500_000)
	s := newServer(t)
	s.cutPut = 2
	path := write(t, "a.txt", content)
	if got := runCommand(t, s.URL, "", "submit", path); got.code != 0 || string(s.uploaded) != content {
		t.Errorf("submit = %d, %q with %d bytes uploaded; want all %d", got.code, got.errOut, len(s.uploaded), len(content))
	}
	puts := 0
	for _, call := range s.asked {
		if call == "PUT /bucket/upload" {
			puts++
		}
	}
	if puts != 3 || len(s.keys) != 1 {
		t.Errorf("%d PUTs and %d submits; want 3 and 1", puts, len(s.keys))
	}
}

func TestAnUploadThatNeverComesThroughIsUnreachable(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.cutPut = 100
	got := runCommand(t, s.URL, "", "submit", write(t, "a.txt", strings.Repeat("Hello. ", 500_000)))
	if got.code != cli.ExitUnreachable || len(s.keys) != 0 {
		t.Errorf("submit = %d, %q with %d jobs; want %d and none", got.code, got.errOut, len(s.keys), cli.ExitUnreachable)
	}
}

func TestSubmitAsJSONIsOneDocument(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	got := runCommand(t, s.URL, "Hello.", "submit", "-", "--json")
	var d jobdoc.Document
	if err := json.Unmarshal([]byte(got.out), &d); err != nil || d.ID != testID || got.errOut != "" {
		t.Errorf("submit --json = %q, %q, %v; want the job alone", got.out, got.errOut, err)
	}
}

func TestAKeyFileWinsAndIsTrimmed(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	env := map[string]string{"VOICEMILL_URL": s.URL + "/", "VOICEMILL_KEY": "vm_wrong"}
	got := runWith(t.Context(), env, "", "status", string(testID), "--key-file", write(t, "key", testKey+"\n"))
	if got.code != 0 {
		t.Errorf("status with --key-file = %d, %q", got.code, got.errOut)
	}
}
