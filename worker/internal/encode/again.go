package encode

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"log/slog"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/blob"
	"github.com/voicemill/voicemill/worker/internal/store"
)

// recipeForm changes whenever this package makes other bytes of the same.
const recipeForm = "1"

// recipe is a digest of all that shapes the bytes of a chapter's file: equal ones are of
// equal bytes.
func (w *work) recipe(c store.EncodingChapter, f *format, tags []tag) []byte {
	h := sha256.New()
	for _, v := range []any{
		recipeForm, w.Tenant, w.deps.Program.Build, f.name, f.encoder, f.args, f.filter(c.Samples, c.SampleRate), c.SHA256,
		metadata(tags, nil), w.cover.sha256, language(w.Language), w.Output.Loudness,
	} {
		_, _ = fmt.Fprintf(h, "%q\n", v) // never fails
	}
	return h.Sum(nil)
}

// again copies a file that was made of the same for the job before its revision, or for
// another one of the tenant; ok is false if there is none that is whole.
func (w *work) again(ctx context.Context, of []byte, as artifact) (file store.Encoded, ok bool, err error) {
	file, ok, err = w.deps.Store.Made(ctx, of)
	if err != nil || !ok {
		return file, false, err
	}
	before := len(w.keys)
	err = w.read(ctx, source{file.ObjectKey, file.Bytes, file.SHA256}, func(in io.Reader) (err error) {
		report := file.Loudness
		file.Artifact, err = w.store(ctx, in, file.Bytes, as, blob.PutOptions{})
		file.Loudness = report
		return err
	})
	if err != nil && job.KindOf(err) == job.Internal {
		w.deps.Log.InfoContext(ctx, "a file that was made of the same is not whole; it is made anew", slog.String("job_id", string(w.ID)), slog.String("error", err.Error()))
		w.remove(ctx, w.keys[before:])
		return store.Encoded{}, false, nil
	}
	return file, err == nil, err
}
