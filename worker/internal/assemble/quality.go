package assemble

import (
	"context"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/worker/internal/store"
)

// quality returns what hearing the files of j has proved; nil if nothing was to be heard.
func (a *Assembler) quality(ctx context.Context, j store.Job) (*job.Quality, error) {
	if j.Verify == "" {
		return nil, nil //nolint:nilnil // there is none
	}
	q := &job.Quality{Verify: j.Verify, Stretches: []job.Doubt{}}
	for c, err := range a.chapters(ctx, j.ID) {
		if err != nil {
			return nil, err
		}
		for p, err := range a.placed(ctx, j, c) {
			if err != nil {
				return nil, err
			}
			if !p.sounds {
				continue
			}
			q.Count(p.Hearing)
			if h := p.Hearing; h != nil && h.Kind != "" {
				q.Doubt(job.Doubt{
					Segment: p.N, Chapter: c.Ordinal, StartSeconds: float64(p.start) / float64(c.SampleRate), Kind: h.Kind, Text: p.Text, Heard: h.Heard, Tries: h.Tries,
				})
			}
		}
	}
	return q, nil
}
