package voices_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/gateway/internal/voices"
	"github.com/voicemill/voicemill/job"
)

type source struct {
	all     []voices.Voice
	formats []string
	err     error
}

func (s *source) ListFormats(context.Context) ([]string, error) { return s.formats, s.err }

func (s *source) ListVoices(context.Context) ([]voices.Voice, error) { return s.all, s.err }

func directory(t *testing.T, all ...voices.Voice) (*voices.Directory, *source) {
	t.Helper()
	src := &source{all: all, formats: []string{"mp3"}}
	d := voices.NewDirectory(src, slog.New(slog.DiscardHandler))
	require.NoError(t, d.Refresh(t.Context()))
	return d, src
}

func TestEveryUnknownVoiceAndLanguageIsAFault(t *testing.T) {
	t.Parallel()
	d, _ := directory(t, voices.Voice{Name: "anna-de", Language: "de"}, voices.Voice{Name: "narrator-en", Language: "en-GB"})
	for name, c := range map[string]struct {
		spec job.Spec
		want []string
	}{
		"nothing named":       {job.Spec{}, nil},
		"a known voice":       {job.Spec{Voice: "anna-de", Language: "de"}, nil},
		"a regional language": {job.Spec{Language: "en-US"}, nil},
		"another case":        {job.Spec{Language: "DE-ch"}, nil},
		"an unknown voice":    {job.Spec{Voice: "nobody"}, []string{`/voice voice "nobody" is not known; known: anna-de, narrator-en`}},
		"an unknown language": {job.Spec{Language: "fr"}, []string{`/language no voice speaks "fr"; spoken: de, en-GB`}},
		"voices of segments":  {job.Spec{Input: job.Input{Segments: []job.InputSegment{{Voice: "anna-de"}, {Voice: "x"}, {}}}}, []string{`/input/segments/1/voice voice "x" is not known`}},
		"a very long name":    {job.Spec{Voice: strings.Repeat("x", 10_000)}, []string{`/voice voice "xxx`}},
		"everything at once":  {job.Spec{Voice: "x", Language: "fr"}, []string{`/voice `, `/language `}},
		"formats":             {job.Spec{Output: job.Output{Formats: []string{"wav", "mp3", "m4b", "8track"}}}, []string{"/output/formats/2 no worker here can make m4b"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			faults := d.Faults(&c.spec)
			require.Len(t, faults.List, len(c.want))
			for i, want := range c.want {
				got := faults.List[i].Pointer + " " + faults.List[i].Detail
				require.True(t, strings.HasPrefix(got, want), "got %q; want %q", got, want)
				require.Less(t, len(got), 300)
			}
		})
	}
}

func TestTheNearestVoiceSpeaksALanguage(t *testing.T) {
	t.Parallel()
	d, _ := directory(t,
		voices.Voice{Name: "a", Language: "en"}, voices.Voice{Name: "b", Language: "en", Default: true},
		voices.Voice{Name: "c", Language: "en-GB"}, voices.Voice{Name: "d", Language: "pt-BR"})
	for language, want := range map[string]string{"en": "b", "en-GB": "c", "en-US": "b", "pt": "d", "fr": ""} {
		require.Equal(t, want, d.Default(language), language)
	}
}

func TestASourceThatIsAwayLeavesTheCopy(t *testing.T) {
	t.Parallel()
	d, src := directory(t, voices.Voice{Name: "a", Language: "en"})
	src.err = errors.New("away")
	require.Error(t, d.Refresh(t.Context()))
	require.Len(t, d.All(), 1)
}
