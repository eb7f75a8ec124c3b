package plan_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/scheduler/internal/plan"
	"github.com/voicemill/voicemill/scheduler/internal/store"
)

func TestTheVoiceOfALanguage(t *testing.T) {
	t.Parallel()
	c := plan.NewCasting([]store.Voice{
		{Name: "brazil", Language: "pt-BR", Default: true},
		{Name: "deutsch-1", Language: "de"},
		{Name: "deutsch-2", Language: "de", Default: true},
		{Name: "english", Language: "en", Default: true},
		{Name: "scots", Language: "en-GB-scotland"},
		{Name: "taiwan", Language: "zh-Hant-TW"},
	})
	for language, want := range map[string]string{
		"en": "english", "EN": "english", "en-US": "english", "en-GB-scotland": "scots",
		"de": "deutsch-2", "de-AT": "deutsch-2",
		"pt": "brazil", "pt-PT": "brazil", "pt-br": "brazil",
		"zh": "taiwan", "zh-Hans-CN": "taiwan",
		"is": "", "": "", "e": "",
	} {
		v, ok := c.For(language)
		require.Equal(t, want != "", ok, language)
		require.Equal(t, want, v.Name, language)
	}
	require.True(t, plan.NewCasting(nil).Empty())
}

func TestAVoiceThatNobodyHasHadForAWeekSpeaksOnlyIfItIsNamed(t *testing.T) {
	t.Parallel()
	c := plan.NewCasting([]store.Voice{
		{Name: "a", Language: "en", Default: true, Gone: true}, {Name: "b", Language: "en"}, {Name: "c", Language: "fr", Gone: true}, {Name: "d", Language: "en-GB", Gone: true},
	})
	for language, want := range map[string]string{"en": "b", "fr": "c"} {
		v, _ := c.For(language)
		require.Equal(t, want, v.Name, language)
	}
	v, ok := c.Named("a")
	require.True(t, ok)
	require.Equal(t, "a", v.Name, "the job was accepted while it was offered")
}
