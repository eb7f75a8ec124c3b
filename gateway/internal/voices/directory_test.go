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
	ear     bool
	err     error
}

func (s *source) HasEar(context.Context) (bool, error) { return s.ear, s.err }

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
		"no ear":              {job.Spec{Verify: job.VerifySample}, []string{"/verify no worker here has an ear"}},
		"nobody listens":      {job.Spec{Verify: job.VerifyNone}, nil},
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

func TestInstructionsAreRefusedByNameWhereAVoiceTakesNone(t *testing.T) {
	t.Parallel()
	d, _ := directory(t, voices.Voice{Name: "actor", Language: "en", Instructions: true}, voices.Voice{Name: "anna-de", Language: "de"})
	segments := func(list ...job.InputSegment) job.Input { return job.Input{Segments: list} }
	none := `voice "anna-de" takes no instructions; voices that take some: actor`
	for name, c := range map[string]struct {
		spec job.Spec
		want []string
	}{
		"a voice that takes some":         {job.Spec{Voice: "actor", Instructions: "warm"}, nil},
		"a voice that takes none":         {job.Spec{Voice: "anna-de", Instructions: "warm"}, []string{"/instructions " + none}},
		"the voice of a language":         {job.Spec{Language: "de", Instructions: "warm"}, []string{"/instructions " + none}},
		"nobody knows whose":              {job.Spec{Instructions: "warm"}, []string{"/instructions need a voice that is named, or the language; voices that take some: actor"}},
		"an unknown voice":                {job.Spec{Voice: "x", Instructions: "warm"}, []string{`/voice voice "x" is not known`}},
		"of segments":                     {job.Spec{Voice: "actor", Input: segments(job.InputSegment{Instructions: "warm"}, job.InputSegment{Voice: "anna-de", Instructions: "warm"}, job.InputSegment{Voice: "anna-de"})}, []string{"/input/segments/1/instructions " + none}},
		"a segment's voice takes none":    {job.Spec{Voice: "actor", Instructions: "warm", Input: segments(job.InputSegment{}, job.InputSegment{Voice: "anna-de"})}, []string{"/input/segments/1/voice " + none}},
		"every segment has a voice":       {job.Spec{Instructions: "warm", Input: segments(job.InputSegment{Voice: "actor"})}, nil},
		"a segment without a voice":       {job.Spec{Instructions: "warm", Input: segments(job.InputSegment{Voice: "actor"}, job.InputSegment{})}, []string{"/input/segments/1/voice need a voice"}},
		"a segment's own without a voice": {job.Spec{Input: segments(job.InputSegment{Instructions: "warm"})}, []string{"/input/segments/0/instructions need a voice"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			faults := d.Faults(&c.spec)
			require.Len(t, faults.List, len(c.want), "%v", faults.List)
			for i, want := range c.want {
				got := faults.List[i].Pointer + " " + faults.List[i].Detail
				require.True(t, strings.HasPrefix(got, want), "got %q; want %q", got, want)
			}
		})
	}
}

func TestABookThatReadsAlongNeedsAnEncoder(t *testing.T) {
	t.Parallel()
	d, src := directory(t, voices.Voice{Name: "a", Language: "en"})
	spec := job.Spec{Output: job.Output{ReadAlong: true}}
	require.Empty(t, d.Faults(&spec).List)
	src.formats = []string{"m4b"}
	require.NoError(t, d.Refresh(t.Context()))
	faults := d.Faults(&spec).List
	require.Len(t, faults, 1, "MP3 is made for it")
	require.Equal(t, "/output/read_along", faults[0].Pointer)
	spec.Output.Formats = []string{"m4b"}
	require.Empty(t, d.Faults(&spec).List)
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

func TestAWorkerWithAnEarIsEnough(t *testing.T) {
	t.Parallel()
	d, src := directory(t, voices.Voice{Name: "anna-de", Language: "de"})
	src.ear = true
	require.NoError(t, d.Refresh(t.Context()))
	faults := d.Faults(&job.Spec{Verify: job.VerifyAll})
	require.Empty(t, faults.List)
}
