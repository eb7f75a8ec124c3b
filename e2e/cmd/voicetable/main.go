// Command voicetable has installed voices of the catalogue, and some of espeak-ng's
// beside them, read a passage of their language through one `voicemill up`, has an ear
// hear it back, and prints what was measured, into a page if it is told one.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/voicemill/voicemill/e2e/internal/onebox"
	"github.com/voicemill/voicemill/e2e/internal/proctree"
	"github.com/voicemill/voicemill/platform/weights"
)

// spoken are the voices of the table, those of a language side by side.
const spoken = "joe,af_heart,af_bella,am_michael,am_fenrir,narrator-en,bf_emma,bm_george,narrator-en-gb," +
	"ef_dora,narrator-es,ff_siwis,narrator-fr,hf_alpha,narrator-hi,if_sara,narrator-it,pf_dora,narrator-pt-br"

func main() {
	var t table
	flag.StringVar(&t.bin, "bin", "bin", "folder with the built commands")
	flag.StringVar(&t.models, "models", os.Getenv("VOICEMILL_MODELS_DIR"), "folder of the models; default: where voicemill has them")
	voices := flag.String("voices", spoken, "whom to hear, with commas between")
	page := flag.String("page", "", "page with the place of a table, to write it there as well; docs/voices.md has one")
	flag.Parse()
	if err := t.write(context.Background(), *page, strings.Split(*voices, ",")); err != nil {
		fmt.Fprintln(os.Stderr, "voicetable:", err)
		os.Exit(1)
	}
}

// table is made of what voices did.
type table struct{ bin, models string }

var between = regexp.MustCompile(`(?s)(<!-- make voices-table -->\n).*?(<!-- end -->)`)

func (t table) write(ctx context.Context, page string, voices []string) error {
	text, err := t.measure(ctx, voices)
	if err != nil {
		return err
	}
	fmt.Print(text)
	if page == "" {
		return nil
	}
	was, err := os.ReadFile(page) //nolint:gosec // of the repository
	if err != nil {
		return err
	}
	if !between.Match(was) {
		return fmt.Errorf("%s has no place for the table", page)
	}
	now := between.ReplaceAllFunc(was, func(old []byte) []byte {
		m := between.FindSubmatch(old)
		return append(append(append([]byte{}, m[1]...), text...), m[2]...)
	})
	return os.WriteFile(page, now, 0o644) //nolint:gosec // others may read it
}

// measure returns the rows of the table.
func (t table) measure(ctx context.Context, voices []string) (text string, err error) {
	if t.models == "" {
		t.models = weights.DefaultDir()
	}
	dir, err := os.MkdirTemp("", "voicetable-")
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	pools, err := t.pools(dir)
	if err != nil {
		return "", err
	}
	before := proctree.Load()
	var b strings.Builder
	b.WriteString("| voice | model | language | words/min | characters/min | LUFS | word error rate | × real time | helper | licence |\n|---|---|---|---|---|---|---|---|---|---|\n")
	err = onebox.Run(ctx, t.bin, func(box *onebox.Box) error {
		known, err := listed(ctx, t.bin, box)
		if err != nil {
			return err
		}
		for _, name := range voices {
			v, ok := known[name]
			if !ok {
				return fmt.Errorf("there is no voice %q", name)
			}
			row, err := t.hear(ctx, box, dir, v)
			if err != nil {
				return fmt.Errorf("voice %q: %w", name, err)
			}
			fmt.Fprintln(os.Stderr, row)
			b.WriteString(row + "\n")
		}
		return nil
	}, "--pools-file", pools, "--ear-patience", "10m")
	fmt.Fprintf(&b, "\nLoad average %s at the beginning and %s at the end.\n", before, proctree.Load())
	return b.String(), err
}

// pools is a pool for each installed voice model and one of espeak-ng, with one helper
// each, so that what a voice takes is what its helper takes.
func (t table) pools(dir string) (path string, err error) {
	models, err := weights.Open(t.models).List()
	if err != nil {
		return "", err
	}
	var all []any
	for _, m := range models {
		if m.Kind == weights.KindVoice {
			all = append(all, map[string]any{
				"name": m.Name, "engine": "neural", "neural": map[string]any{"model": m.Name, "models_dir": t.models, "helpers": 1, "threads": 1},
			})
		}
	}
	all = append(all, map[string]any{"name": "espeak", "engine": "espeak", "espeak": map[string]any{"helpers": 1}})
	b, err := json.Marshal(map[string]any{"pools": all})
	if err != nil {
		return "", err
	}
	path = filepath.Join(dir, "pools.json")
	return path, os.WriteFile(path, b, 0o600)
}
