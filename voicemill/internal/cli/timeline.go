package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"strings"

	"github.com/voicemill/voicemill/api/client/openapi"
	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/voicemill/internal/cli/console"
	"github.com/voicemill/voicemill/voicemill/internal/progress"
)

// maxTimeline bounds what timeline holds in memory, in bytes: several times that of
// a job of 200,000 segments.
const maxTimeline = 1 << 30

// TimelineCommand tells when everything of a job sounds.
type TimelineCommand struct {
	ID      job.ID `arg:"" help:"The job's id."`
	Chapter int    `placeholder:"N" help:"Only this chapter; default: all."`
	Words   bool   `help:"A line for each word, not for each sentence."`
}

// Run prints a line for each sentence, or with --json the document as it comes.
func (c *TimelineCommand) Run(ctx context.Context, con *console.Console, s *Session) error {
	if c.Chapter < 0 {
		return usagef("--chapter counts from 1")
	}
	r, err := s.calls.Timeline(ctx, c.ID, c.Chapter)
	if err != nil {
		return err
	}
	defer r.Close() //nolint:errcheck // only read
	if con.JSON {
		_, err := io.Copy(con.Out, r)
		return err
	}
	var t openapi.Timeline
	if err := json.NewDecoder(io.LimitReader(r, maxTimeline)).Decode(&t); err != nil {
		return fmt.Errorf("read the timeline: %w", err)
	}
	for _, chapter := range t.Chapters {
		for _, g := range chapter.Segments {
			if err := c.tell(con, chapter.Ordinal, g); err != nil {
				return err
			}
		}
	}
	return nil
}

// tell prints one segment.
func (c *TimelineCommand) tell(con *console.Console, chapter int, g openapi.TimedSegment) error {
	var lines strings.Builder
	line := func(at *float64, text string) {
		fmt.Fprintf(&lines, "%3d  %10s  %s\n", chapter, sounds(at), progress.Clean(text))
	}
	for _, sentence := range g.Sentences {
		if !c.Words || sentence.Words == nil {
			line(sentence.StartSeconds, sentence.Text)
			continue
		}
		for _, w := range *sentence.Words {
			line(&w.StartSeconds, w.Text)
		}
	}
	return con.Printf("%s", lines.String())
}

// sounds writes a time as minutes, seconds and milliseconds.
func sounds(seconds *float64) string {
	if seconds == nil {
		return "-"
	}
	ms := int64(math.Round(*seconds * 1000))
	return fmt.Sprintf("%d:%02d.%03d", ms/60_000, ms/1000%60, ms%1000)
}
