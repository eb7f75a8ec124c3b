package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/voicemill/voicemill/voicemill/internal/cli/console"
	"github.com/voicemill/voicemill/voicemill/internal/progress"
)

// VoicesCommand lists the voices.
type VoicesCommand struct {
	Language string `placeholder:"TAG" help:"Only voices of this language."`
}

// Run prints the voices.
func (c *VoicesCommand) Run(ctx context.Context, con *console.Console, s *Session) error {
	voices, err := s.calls.Voices(ctx)
	if err != nil {
		return err
	}
	rows := make([][]string, 0, len(voices))
	for _, v := range voices {
		if c.Language != "" && !speaks(v.Language, c.Language) {
			continue
		}
		if con.JSON {
			if err := con.Document(v); err != nil {
				return err
			}
			continue
		}
		standard := ""
		if v.Default {
			standard = "default"
		}
		if v.Instructions {
			standard = strings.TrimSpace(standard + " takes instructions")
		}
		if v.UnavailableSince != nil {
			standard = strings.TrimSpace(standard + " no worker since " + v.UnavailableSince.Local().Format(time.DateTime))
		}
		rows = append(rows, []string{
			progress.Clean(v.Name), progress.Clean(v.Language), progress.Clean(v.Engine), fmt.Sprintf("%d Hz", v.SampleRate), standard,
			known(v.Licence), known(v.Attribution),
		})
	}
	if con.JSON {
		return nil
	}
	return writeTable(con.Out, []string{"VOICE", "LANGUAGE", "ENGINE", "RATE", "", "LICENCE", "MADE BY"}, rows)
}

// known returns what is said of a voice, if anything is.
func known(text *string) string {
	if text == nil {
		return ""
	}
	return progress.Clean(*text)
}

// speaks reports whether a voice of language have speaks want: en finds en-GB.
func speaks(have, want string) bool {
	have, want = strings.ToLower(have), strings.ToLower(want)
	return have == want || strings.HasPrefix(have, want+"-")
}
