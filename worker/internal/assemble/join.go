package assemble

import (
	"bufio"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/blob"
	"github.com/voicemill/voicemill/platform/wav"
	"github.com/voicemill/voicemill/worker/internal/store"
)

const (
	bytesPerSample = 2
	pipeBytes      = 256 << 10 // gathers small writes on the way to the bucket
	// A file of up to so many bytes, 23 minutes at 24 kHz, is sent in one request, and
	// made anew if that fails; of a larger one a part is held, and sent again.
	onceBytes = 64 << 20
)

var errBroken = errors.New("a stored rendition is missing or damaged")

// join writes the chapter's file to the bucket. It returns what is broken if
// some rendition is; then nothing was stored.
func (a *Assembler) join(ctx context.Context, c store.Chapter, p plan) (store.Joined, []store.Broken, error) {
	name := fmt.Sprintf("chapter-%03d.wav", c.Ordinal)
	key, err := a.deps.Store.FileKey(c.Tenant, c.JobID, name)
	if err != nil {
		return store.Joined{}, nil, err
	}
	size := wav.FileSize(p.samples)
	var report *job.LoudnessReport
	sum, _, err := a.upload(ctx, key, size, "audio/wav", func(ctx context.Context, w io.Writer) (err error) {
		report, err = a.write(ctx, w, c, p)
		return err
	})
	if errors.Is(err, errBroken) {
		broken, err := a.inspect(ctx, c)
		return store.Joined{}, broken, err
	}
	if err != nil {
		return store.Joined{}, nil, fmt.Errorf("join chapter %d: %w", c.Ordinal, err)
	}
	seconds := float64(p.samples) / float64(p.rate)
	return store.Joined{
		Proof: p.proof, SampleRate: p.rate, Samples: p.samples,
		File: store.Artifact{Name: name, MediaType: "audio/wav", ObjectKey: key, Bytes: size, SHA256: sum, AudioSeconds: &seconds, Loudness: report},
	}, nil, nil
}

// upload stores what write produces while it is produced, and returns its
// SHA-256 and size. An error of write wins over what it causes in the upload.
func (a *Assembler) upload(ctx context.Context, key string, size int64, media string, write func(context.Context, io.Writer) error) (sum []byte, n int64, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	pr, pw := io.Pipe()
	written := make(chan error, 1)
	go func() { // ends when the file is written or pr is closed, and is waited for below
		w := bufio.NewWriterSize(pw, pipeBytes)
		err := write(ctx, w)
		if err == nil {
			err = w.Flush()
		}
		_ = pw.CloseWithError(err) // never fails
		written <- err
	}()
	h := sha256.New()
	count := &counter{r: io.TeeReader(pr, h)}
	_, putErr := a.deps.Blob.Put(ctx, key, count, size, blob.PutOptions{ContentType: media, Once: size <= onceBytes})
	cancel()
	_ = pr.CloseWithError(errUploadEnded) // never fails; a writer that still writes gets it
	if err := <-written; err != nil && !errors.Is(err, errUploadEnded) && (putErr == nil || ctxFree(err)) {
		return nil, 0, err
	}
	if putErr != nil { // the store may still read
		return nil, 0, putErr
	}
	return h.Sum(nil), count.n, nil
}

var errUploadEnded = errors.New("the upload ended before its data did")

// ctxFree reports whether err says more than that the upload was over.
func ctxFree(err error) bool { return !errors.Is(err, context.Canceled) }

type counter struct {
	r io.Reader
	n int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

// write produces the chapter's file. If the job asked for a level, it tells how
// loud the file became.
func (a *Assembler) write(ctx context.Context, w io.Writer, c store.Chapter, p plan) (*job.LoudnessReport, error) {
	if _, err := w.Write(wav.Header(p.rate, p.samples)); err != nil {
		return nil, err
	}
	if p.levels == nil {
		return nil, a.writeSamples(ctx, w, c, p, func(store.Segment) {})
	}
	s := newShaper(w, p.rate, p.levels)
	if err := a.writeSamples(ctx, s, c, p, s.next); err != nil {
		return nil, err
	}
	return s.report(p.rate)
}

// writeSamples writes the segments and the silence between them; next is told
// of each segment before its samples.
func (a *Assembler) writeSamples(ctx context.Context, w io.Writer, c store.Chapter, p plan, next func(store.Segment)) error {
	layout := layoutOf(p.rate, c.Pauses, c.Loudness)
	digest := job.NewOrderDigest()
	err := a.each(ctx, c, func(g store.Segment, body io.Reader, info blob.Info) error {
		if g.State == job.SegmentFailed {
			layout.Pass(g.BreakAfter)
			return nil
		}
		skip, kept := cut(c.Loudness, g.Sound, g.Samples, g.SampleRate)
		silence, start := layout.Place(kept, g.BreakAfter)
		if start+kept > p.samples || g.SampleRate != p.rate {
			return changed(c)
		}
		digest.Add(g.RenditionKey)
		if err := writeSilence(w, silence); err != nil {
			return err
		}
		next(g)
		if kept == g.Samples {
			return copyRendition(w, g, body, info)
		}
		return copyRendition(&cutter{w, skip * bytesPerSample, kept * bytesPerSample}, g, body, info)
	})
	if err != nil {
		return err
	}
	silence, total := layout.End()
	if total != p.samples || string(digest.Sum()) != string(p.proof) {
		return changed(c)
	}
	return writeSilence(w, silence)
}

func changed(c store.Chapter) error {
	return &job.Error{Op: "assemble.write", JobID: c.JobID, Kind: job.Unavailable, Err: fmt.Errorf("chapter %d changed while it was joined", c.Ordinal)}
}

func writeSilence(w io.Writer, samples int64) error {
	_, err := io.CopyN(w, silence{}, samples*bytesPerSample)
	return err
}

// silence is zeros without end.
type silence struct{}

func (silence) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// copyRendition copies the samples of one rendition and checks every byte of
// it against what was stored. An error wraps errBroken if the object itself is
// wrong, and is Unavailable if it could not be read to its end.
func copyRendition(w io.Writer, g store.Segment, body io.Reader, info blob.Info) error {
	if info.Size != g.Bytes {
		return fmt.Errorf("object %s has %d bytes; want %d: %w", g.ObjectKey, info.Size, g.Bytes, errBroken)
	}
	h := sha256.New()
	in := &counter{r: io.TeeReader(body, h)}
	sink := &sink{w: w}
	bad := copySamples(sink, in, g)
	if sink.err != nil {
		return sink.err
	}
	_, err := io.Copy(io.Discard, in) // the rest, if any: the sum is over all
	if in.n != g.Bytes {
		return &job.Error{Op: "assemble.copyRendition", Kind: job.Unavailable, Err: fmt.Errorf("read %s: %w", g.ObjectKey, errors.Join(io.ErrUnexpectedEOF, bad, err))}
	}
	if bad != nil || string(h.Sum(nil)) != string(g.SHA256) {
		return fmt.Errorf("object %s is not what was stored: %w", g.ObjectKey, errors.Join(errBroken, bad))
	}
	return nil
}

func copySamples(w io.Writer, r io.Reader, g store.Segment) error {
	in, err := wav.NewReader(r)
	if err != nil {
		return err
	}
	if in.Rate != g.SampleRate || in.Channels != 1 {
		return fmt.Errorf("%d channels at %d Hz; want 1 at %d", in.Channels, in.Rate, g.SampleRate)
	}
	n, err := io.Copy(w, in)
	if err == nil && n != g.Samples*bytesPerSample {
		err = fmt.Errorf("%d bytes of samples; want %d", n, g.Samples*bytesPerSample)
	}
	return err
}

// sink remembers an error of the writer, to tell it from one of the reader.
type sink struct {
	w   io.Writer
	err error
}

func (s *sink) Write(p []byte) (int, error) {
	n, err := s.w.Write(p)
	if err != nil {
		s.err = err
	}
	return n, err
}

// ReadFrom reads into the writer's own buffer, if it has one: a copy less.
func (s *sink) ReadFrom(r io.Reader) (int64, error) {
	w, ok := s.w.(io.ReaderFrom)
	if !ok {
		return io.Copy(struct{ io.Writer }{s}, r)
	}
	in := &origin{r: r}
	n, err := w.ReadFrom(in)
	if err != nil && in.err == nil {
		s.err = err
	}
	return n, err //nolint:wrapcheck // the reader's own error, or the writer's
}

// origin remembers an error of the reader, its end excepted.
type origin struct {
	r   io.Reader
	err error
}

func (o *origin) Read(p []byte) (int, error) {
	n, err := o.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		o.err = err
	}
	return n, err //nolint:wrapcheck // the reader's own error
}

// opened is one segment with its rendition opened, or the end of them.
type opened struct {
	g    store.Segment
	body io.ReadCloser // nil for a failed segment
	info blob.Info
	err  error
}

// each calls f for every segment of a chapter in order. The next few renditions are
// opened side by side meanwhile: one after another, a bucket that takes 15 ms to
// answer would give 70 of them a second, whoever else has time.
func (a *Assembler) each(ctx context.Context, c store.Chapter, f func(g store.Segment, body io.Reader, info blob.Info) error) error {
	ctx, cancel := context.WithCancel(ctx)
	ahead := make(chan chan opened, a.cfg.Prefetch)
	go func() { // the channel's sender; ends when all are sent or ctx is done
		defer close(ahead)
		for g, err := range a.segments(ctx, c) {
			one := make(chan opened, 1) // whoever opens never waits, and is waited for by who receives
			select {
			case ahead <- one:
			case <-ctx.Done():
				return
			}
			if err != nil || g.State == job.SegmentFailed {
				one <- opened{g: g, err: err}
				continue
			}
			go func() { // ends with its GET, which ctx bounds
				o := opened{g: g}
				o.body, o.info, o.err = a.open(ctx, g)
				one <- o
			}()
		}
	}()
	defer func() {
		cancel()
		for one := range ahead {
			closeBody((<-one).body)
		}
	}()
	for one := range ahead {
		o := <-one
		if o.err != nil {
			return o.err
		}
		var r io.Reader
		if o.body != nil {
			r = o.body
		}
		err := f(o.g, r, o.info)
		closeBody(o.body)
		if err != nil {
			return err
		}
	}
	return context.Cause(ctx) // the sender may have stopped early because of it
}

func closeBody(body io.Closer) {
	if body != nil {
		_ = body.Close() // it was read, or is not wanted
	}
}

func (a *Assembler) open(ctx context.Context, g store.Segment) (io.ReadCloser, blob.Info, error) {
	if !g.Rendered {
		return nil, blob.Info{}, fmt.Errorf("rendition %s is gone: %w", g.RenditionKey, errBroken)
	}
	body, info, err := a.deps.Blob.Get(ctx, g.ObjectKey, blob.GetOptions{})
	if job.KindOf(err) == job.NotFound {
		return nil, info, fmt.Errorf("object %s is gone: %w", g.ObjectKey, errBroken)
	}
	if err != nil {
		return nil, info, fmt.Errorf("open %s: %w", g.ObjectKey, err)
	}
	return body, info, nil
}

// inspect reads every rendition of a chapter and returns those that are broken.
// It runs only after one was found to be.
func (a *Assembler) inspect(ctx context.Context, c store.Chapter) ([]store.Broken, error) {
	var broken []store.Broken
	for g, err := range a.segments(ctx, c) {
		if err != nil {
			return nil, err
		}
		if g.State == job.SegmentFailed {
			continue
		}
		if !g.Rendered {
			broken = append(broken, store.Broken{RenditionKey: g.RenditionKey, Detail: "The stored audio was gone and is made again."})
			continue
		}
		body, info, err := a.open(ctx, g)
		if err == nil {
			err = copyRendition(io.Discard, g, body, info)
			closeBody(body)
		}
		switch {
		case errors.Is(err, errBroken):
			broken = append(broken, store.Broken{RenditionKey: g.RenditionKey, Damaged: true, Suffix: g.Suffix, Detail: "The stored audio was missing or damaged and is made again."})
		case err != nil:
			return nil, err
		}
	}
	return broken, nil
}
