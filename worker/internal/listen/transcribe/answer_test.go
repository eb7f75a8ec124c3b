package transcribe

import (
	"testing"
	"unicode/utf8"
)

func FuzzRead(f *testing.F) {
	f.Add([]byte(`{"text":"Hello there.","words":[{"word":" Hello","start":0.1,"end":0.4},{"word":"there.","start":1e308,"end":-2}]}`))
	f.Add([]byte(`{"text":"Hello there."}`))
	f.Add([]byte(`{"text":null,"words":null}`))
	f.Add([]byte("{\"text\":\"\xff\"}"))
	f.Fuzz(func(t *testing.T, body []byte) {
		got, err := read(body)
		if err != nil {
			return
		}
		if !utf8.ValidString(got.Text) {
			t.Fatalf("%q", got.Text)
		}
		for _, w := range got.Words {
			if w.Start < 0 || w.End < w.Start {
				t.Fatalf("%+v", w)
			}
		}
	})
}
