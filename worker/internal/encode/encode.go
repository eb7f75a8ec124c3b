package encode

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/blob"
	"github.com/voicemill/voicemill/platform/bus"
	"github.com/voicemill/voicemill/platform/ffmpeg"
	"github.com/voicemill/voicemill/worker/internal/store"
)

// Blob is where audio is read from and stored.
type Blob interface {
	// Put stores r under key.
	Put(ctx context.Context, key string, r io.Reader, size int64, opt blob.PutOptions) (blob.Info, error)
	// Get opens an object; the caller closes it. NotFound if there is none.
	Get(ctx context.Context, key string, opt blob.GetOptions) (io.ReadCloser, blob.Info, error)
	// Delete removes an object; one that is not there counts as removed.
	Delete(ctx context.Context, key string) error
}

// Deps are the parts that an Encoder works with.
type Deps struct {
	Program *ffmpeg.Program
	Store   *store.Store
	Blob    Blob
	Dir     string            // for temporary files: a chapter's files each time; empty: the system's
	Tell    func(bus.Settled) // notes an encoding that is settled
	Log     *slog.Logger
}

// Encoder makes the files of one chapter or book at a time; it is safe for
// concurrent use.
type Encoder struct{ deps Deps }

// New returns an Encoder.
func New(deps Deps) *Encoder { return &Encoder{deps: deps} }

// Encode makes what is due for a chapter, or for the book where the ordinal is 0,
// unless it is not due any more. After an error nothing of it is known to anybody.
func (e *Encoder) Encode(ctx context.Context, d store.Due) error {
	j, err := e.deps.Store.Encoding(ctx, d.JobID)
	if job.KindOf(err) == job.NotFound {
		return nil // the job was deleted
	}
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp(e.deps.Dir, "voicemill-encode-*")
	if err != nil {
		return &job.Error{Op: "encode.Encode", JobID: j.ID, Kind: job.Unavailable, Err: err}
	}
	defer os.RemoveAll(dir) //nolint:errcheck // the system's folder is swept
	w := &work{Encoder: e, Encoding: j, dir: dir}
	var ok bool
	if d.Ordinal == 0 {
		ok, err = w.book(ctx)
	} else {
		ok, err = w.chapter(ctx, d.Ordinal)
	}
	switch {
	case errors.Is(err, errStale):
		err = e.deps.Store.DropStaleEncoding(ctx, j.ID, d.Ordinal)
		if job.KindOf(err) == job.NotFound {
			return nil
		}
		return err
	case job.KindOf(err) == job.NotFound:
		w.discard(ctx)
		return nil
	case err != nil:
		w.discard(ctx)
		return err
	case !ok:
		w.discard(ctx)
		return &job.Error{Op: "encode.Encode", JobID: j.ID, Kind: job.Unavailable, Err: fmt.Errorf("what was encoded of %d is not what there is now", d.Ordinal)}
	}
	e.deps.Tell(bus.Settled{Job: j.Num, N: d.Ordinal, Attempt: max(d.Attempt, 1), Tenant: j.Tenant, Class: j.Class, Pool: bus.PoolEncode})
	return nil
}

var errStale = errors.New("it is not due any more")

// work is the encoding of one chapter or book.
type work struct {
	*Encoder
	store.Encoding
	dir   string
	cover cover
	keys  []string // of what was stored
}

// chapter makes the files of one chapter.
func (w *work) chapter(ctx context.Context, ordinal int) (ok bool, err error) {
	c, err := w.deps.Store.EncodingChapter(ctx, w.ID, ordinal)
	if err != nil {
		return false, err
	}
	if w.Final || !c.Due {
		return false, errStale
	}
	if w.cover, err = w.fetch(ctx); err != nil {
		return false, err
	}
	var files []store.Encoded
	for _, f := range wanted(w.Output) {
		file, err := w.encode(ctx, c, &f)
		if err != nil {
			return false, err
		}
		files = append(files, file)
	}
	return w.deps.Store.ChapterEncoded(ctx, w.ID, c, files)
}

// encode makes one file of a chapter's WAV.
func (w *work) encode(ctx context.Context, c store.EncodingChapter, f *format) (file store.Encoded, err error) {
	name := fmt.Sprintf("chapter-%03d.%s", c.Ordinal, f.extension)
	path := filepath.Join(w.dir, name)
	tags := append(book(w.Encoding), tag{"title", title(c.Ordinal, c.Title)}, tag{"track", fmt.Sprintf("%d/%d", c.Ordinal, w.Chapters)})
	if f.oneText {
		tags = oneText(tags)
	}
	file.MadeOf = w.recipe(c, f, tags)
	as := artifact{name, f.media, float64(c.Samples) / float64(c.SampleRate)}
	if old, ok, err := w.again(ctx, file.MadeOf, as); ok || err != nil {
		return old, err
	}
	picture := w.cover
	if f.inTags {
		pictured, err := picture.tag()
		if err != nil {
			return file, err
		}
		tags, picture = append(tags, pictured...), cover{}
	}
	said, err := w.say(metadata(tags, nil))
	if err != nil {
		return file, err
	}
	args := slices.Concat([]string{"-threads", "1"}, inputs(said, "-f", "wav", "-i", "pipe:0"), picture.input(),
		[]string{"-map", "0:a", "-map_metadata", "1"}, picture.output())
	if f.rate > 0 {
		args = append(args, "-af", f.filter(c.Samples, c.SampleRate))
	}
	args = append(append(args, "-c:a", f.encoder, "-threads", "1"), f.args...)
	err = w.read(ctx, source{c.ObjectKey, c.Bytes, c.SHA256}, func(in io.Reader) error {
		return w.deps.Program.Run(ctx, in, nil, w.exact(args, path)...)
	})
	if err != nil {
		return file, w.fault(name, err)
	}
	a, err := w.deps.Program.Measure(ctx, path)
	if err != nil {
		return file, w.fault(name, err)
	}
	if file.CodedSamples, err = f.coded(a, c.Samples, c.SampleRate); err != nil {
		return file, w.fault(name, err)
	}
	report, err := w.conform(ctx, path, a.SampleRate)
	if err != nil {
		return file, w.fault(name, err)
	}
	file.Artifact, err = w.put(ctx, path, as)
	file.Loudness = report
	return file, err
}

const byTurns = "-thread_queue_size"

// inputs are the arguments that read audio from a pipe, and what the file is to
// say. Given two inputs ffmpeg reads each with a thread and looks every 10 ms
// whether there is something, eight packets at a time, unless it is told to read by turns.
func inputs(said string, audio ...string) []string {
	args := append([]string{byTurns, "0"}, audio...)
	return append(args, byTurns, "0", "-f", "ffmetadata", "-i", said)
}

// exact completes what makes a file: the same bytes whenever it is made.
func (w *work) exact(args []string, path string) []string {
	return append(args, "-metadata:s:a:0", "language="+language(w.Language), "-fflags", "+bitexact", "-flags:a", "+bitexact", path)
}

// say writes what a file is to say of itself where ffmpeg reads it.
func (w *work) say(text string) (path string, err error) {
	path = filepath.Join(w.dir, "metadata.txt")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		return "", &job.Error{Op: "encode.say", JobID: w.ID, Kind: job.Unavailable, Err: err}
	}
	return path, nil
}

// source is a stored file that is read.
type source struct {
	key    string
	bytes  int64
	sha256 []byte
}

// read hands a stored file to use and fails unless every byte is what was stored.
func (w *work) read(ctx context.Context, s source, use func(io.Reader) error) error {
	body, _, err := w.deps.Blob.Get(ctx, s.key, blob.GetOptions{})
	if err != nil {
		return w.gone(err)
	}
	defer body.Close() //nolint:errcheck // only read
	h := sha256.New()
	in := io.TeeReader(body, h)
	if err := use(in); err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, in); err != nil {
		return &job.Error{Op: "encode.read", JobID: w.ID, Kind: job.Unavailable, Err: fmt.Errorf("read %s: %w", s.key, err)}
	}
	if string(h.Sum(nil)) != string(s.sha256) {
		return &job.Error{Op: "encode.read", JobID: w.ID, Kind: job.Internal, Public: "A stored file is damaged.", Err: fmt.Errorf("%s is not what was stored", s.key)}
	}
	return nil
}

// gone says that a stored file is not there: a chapter that was joined anew is read anew.
func (w *work) gone(err error) error {
	if job.KindOf(err) == job.NotFound {
		return &job.Error{Op: "encode.read", JobID: w.ID, Kind: job.Internal, Public: "A stored file is gone.", Err: err}
	}
	return err
}

// artifact is what a file is called that is stored, and how long it sounds.
type artifact struct {
	name, media string
	seconds     float64
}

// put stores a file that was found right.
func (w *work) put(ctx context.Context, path string, as artifact) (a store.Artifact, err error) {
	f, err := os.Open(path) //nolint:gosec // a file of ours
	if err != nil {
		return a, &job.Error{Op: "encode.put", JobID: w.ID, Kind: job.Unavailable, Err: err}
	}
	defer f.Close() //nolint:errcheck // only read
	info, err := f.Stat()
	if err != nil {
		return a, &job.Error{Op: "encode.put", JobID: w.ID, Kind: job.Unavailable, Err: err}
	}
	return w.store(ctx, f, info.Size(), as, blob.PutOptions{})
}

// store stores size bytes of r under a key that nobody used before.
func (w *work) store(ctx context.Context, r io.Reader, size int64, as artifact, how blob.PutOptions) (a store.Artifact, err error) {
	key, err := w.deps.Store.FileKey(w.Tenant, w.ID, as.name)
	if err != nil {
		return a, err
	}
	h := sha256.New()
	w.keys, how.ContentType = append(w.keys, key), as.media
	if _, err := w.deps.Blob.Put(ctx, key, io.TeeReader(r, h), size, how); err != nil {
		return a, fmt.Errorf("store %s: %w", as.name, err)
	}
	return store.Artifact{Name: as.name, MediaType: as.media, ObjectKey: key, Bytes: size, SHA256: h.Sum(nil), AudioSeconds: &as.seconds}, nil
}

// fault says which file could not be made; what is away stays what it is.
func (w *work) fault(name string, err error) error {
	if _, ok := errors.AsType[*job.Error](err); ok {
		return fmt.Errorf("make %s: %w", name, err)
	}
	return &job.Error{Op: "encode", JobID: w.ID, Kind: job.Internal, Public: fmt.Sprintf("ffmpeg could not make %s.", name), Err: err}
}

// lastWord is how long the bucket may take to remove what nobody needs.
const lastWord = 2 * time.Second

// discard removes all that was stored, since no row will name it.
func (w *work) discard(ctx context.Context) { w.remove(ctx, w.keys) }

// remove removes what no row names. What cannot be removed now, the scheduler finds.
func (w *work) remove(ctx context.Context, keys []string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWord)
	defer cancel()
	for _, key := range keys {
		if err := w.deps.Blob.Delete(ctx, key); err != nil {
			w.deps.Log.InfoContext(ctx, "a file that nobody needs stays for now", slog.String("object", key), slog.String("error", err.Error()))
		}
	}
}
