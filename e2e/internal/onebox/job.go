package onebox

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/voicemill/voicemill/api/jobdoc"
	"github.com/voicemill/voicemill/job"
)

// Submit hands a document in with the command in bin and flags of `voicemill submit`,
// and waits for the job, which must succeed.
func (b *Box) Submit(ctx context.Context, bin, document string, flags ...string) (doc jobdoc.Document, err error) {
	args := append([]string{"--url", b.URL, "--key-file", b.KeyFile, "--json", "submit", document, "--wait"}, flags...)
	submit := exec.CommandContext(ctx, filepath.Join(bin, "voicemill"), args...) //nolint:gosec // built by make
	submit.Stderr = os.Stderr
	answer, err := submit.Output()
	if err != nil {
		return doc, fmt.Errorf("submit: %w", err)
	}
	lines := bytes.Split(bytes.TrimSpace(answer), []byte("\n"))
	if err := json.Unmarshal(lines[len(lines)-1], &doc); err != nil {
		return doc, fmt.Errorf("read the job: %w", err)
	}
	if doc.State != job.StateSucceeded {
		return doc, fmt.Errorf("job %s ended %s: %+v", doc.ID, doc.State, doc.Error)
	}
	return doc, nil
}
