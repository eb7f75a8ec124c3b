package job_test

import (
	"reflect"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/job"
)

func TestEveryFieldOfARenditionIsInItsKey(t *testing.T) {
	t.Parallel()
	base := job.Rendition{
		Tenant: "acme", Pool: "p", Engine: "e 1", Voice: "v", Language: "en", Text: "Hello.",
		Speed: 1, Seed: 1, SampleRate: 24000, Pronunciations: "[]",
	}
	same := base
	require.Equal(t, base.Key(), same.Key(), "the same rendition hits")
	keys := map[string]string{base.Key(): "nothing"}
	fields := reflect.TypeFor[job.Rendition]()
	for i := range fields.NumField() {
		changed := base
		switch f := reflect.ValueOf(&changed).Elem().Field(i); f.Kind() {
		case reflect.String:
			f.SetString(f.String() + "x")
		case reflect.Float64:
			f.SetFloat(f.Float() + 0.5)
		case reflect.Int, reflect.Int64:
			f.SetInt(f.Int() + 1)
		default:
			t.Fatalf("field %s: the test does not know how to change a %s", fields.Field(i).Name, f.Kind())
		}
		name, key := fields.Field(i).Name, changed.Key()
		require.NotContains(t, keys, key, "%s changed: a rendition must miss", name)
		keys[key] = name
	}
}

// What was spoken before there were instructions is found again.
func TestARenditionWithoutInstructionsKeepsItsKey(t *testing.T) {
	t.Parallel()
	r := job.Rendition{
		Tenant: "acme", Pool: "p", Engine: "e 1", Voice: "v", Language: "en", Text: "Hello.",
		Speed: 1, Seed: 1, SampleRate: 24000, Pronunciations: "[]",
	}
	require.Equal(t, "89a4eddd1529808394ebae08d5b24ac4138bf23e6a1e58ced9a02e5933ddb1bc", r.Key())
}

func TestNoTwoRenditionsShareAnEncoding(t *testing.T) {
	t.Parallel()
	require.NotEqual(t, job.Rendition{Voice: "ab", Language: "c"}.Key(), job.Rendition{Voice: "a", Language: "bc"}.Key())
}
