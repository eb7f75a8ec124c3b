package encode

import (
	"context"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/worker/internal/level"
	"github.com/voicemill/voicemill/worker/internal/loudness"
)

// conform decodes an encoded file as a player does, and holds what it sounds like
// against the level that the job asked for; nil if it asked for none.
func (w *work) conform(ctx context.Context, path string, rate int) (*job.LoudnessReport, error) {
	target, ok := level.TargetOf(w.Output.Loudness)
	if !ok {
		return nil, nil //nolint:nilnil // there is nothing to report
	}
	out := loudness.NewPCM(rate)
	err := w.deps.Program.Run(ctx, nil, out, "-threads", "1", "-i", path, "-map", "0:a", "-f", "s16le", "pipe:1")
	if err != nil {
		return nil, err
	}
	return target.Report(out.Figures(), rate), nil
}
