package web

import "testing"

func TestRangesAreReadAsHTTPSays(t *testing.T) {
	t.Parallel()
	for field, want := range map[string]struct {
		span
		rangeVerdict
	}{
		"":                             {span{}, rangeNone},
		"bytes=0-0":                    {span{0, 1}, rangePart},
		"bytes=0-":                     {span{0, 100}, rangePart},
		"bytes=99-99":                  {span{99, 1}, rangePart},
		"bytes=-1":                     {span{99, 1}, rangePart},
		"bytes=-1000":                  {span{0, 100}, rangePart},
		"BYTES= 5-9 ":                  {span{5, 5}, rangePart},
		"bytes=5-99999999999999999999": {span{5, 95}, rangePart},
		"bytes=100-":                   {span{}, rangeWrong},
		"bytes=99999999999999999999-":  {span{}, rangeWrong},
		"bytes=-0":                     {span{}, rangeWrong},
		"bytes=":                       {span{}, rangeNone},
		"bytes=-":                      {span{}, rangeNone},
		"bytes=5":                      {span{}, rangeNone},
		"bytes=9-5":                    {span{}, rangeNone},
		"bytes=+5-9":                   {span{}, rangeNone},
		"bytes=5-9,11-12":              {span{}, rangeNone},
		"bytes=a-b":                    {span{}, rangeNone},
		"items=0-1":                    {span{}, rangeNone},
	} {
		if got, verdict := parseRange([]byte(field), 100); got != want.span || verdict != want.rangeVerdict {
			t.Errorf("parseRange(%q) = %v, %d; want %v, %d", field, got, verdict, want.span, want.rangeVerdict)
		}
	}
}

// FuzzParseRange checks that a part is never beyond the object.
func FuzzParseRange(f *testing.F) {
	for _, field := range []string{"bytes=0-1", "bytes=-5", "bytes=7-", "bytes=9223372036854775807-", "bytes=1-1,2-2", "bytes=-"} {
		f.Add([]byte(field), int64(100))
	}
	f.Fuzz(func(t *testing.T, field []byte, size int64) {
		size = max(size, 0)
		got, verdict := parseRange(field, size)
		switch {
		case verdict == rangePart && (got.offset < 0 || got.length < 1 || got.length > size-got.offset):
			t.Errorf("parseRange(%q) of %d bytes is %v", field, size, got)
		case verdict != rangePart && got != span{}:
			t.Errorf("parseRange(%q) of %d bytes is %v without a part", field, size, got)
		}
	})
}
