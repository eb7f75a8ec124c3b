package manuscript_test

import (
	"context"
	"fmt"
	"strings"

	"github.com/voicemill/voicemill/scheduler/internal/manuscript"
)

func ExampleOpen() {
	page := `<html lang="en"><h1>The Mill</h1><p>It turned all night.<sup><a href="#n1">1</a></sup> Nobody slept.</p></html>`
	doc, err := manuscript.Open(context.Background(), strings.NewReader(page), int64(len(page)), manuscript.TypeHTML, manuscript.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer doc.Close() //nolint:errcheck // never fails
	for chapter, err := range doc.Chapters() {
		if err != nil {
			fmt.Println(err)
			return
		}
		for _, s := range chapter.Segments {
			fmt.Printf("%s, %.1f s, bytes %d to %d, then %s: %s\n", chapter.Title, s.Seconds, s.Source.Start, s.Source.End, s.Break, s.Text)
		}
	}
	// Output:
	// The Mill, 0.7 s, bytes 20 to 28, then paragraph: The Mill
	// The Mill, 2.4 s, bytes 36 to 100, then chapter: It turned all night. Nobody slept.
}
