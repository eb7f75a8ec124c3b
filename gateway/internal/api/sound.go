package api

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/voicemill/voicemill/gateway/internal/playback"
	"github.com/voicemill/voicemill/gateway/internal/transcode"
	"github.com/voicemill/voicemill/gateway/internal/watch"
	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/resample"
	"github.com/voicemill/voicemill/platform/wav"
)

const (
	speechPCMRate = 24_000           // Hz of response_format pcm, as OpenAI's API documents
	soundPiece    = 16 << 10         // bytes that are read at a time
	soundStall    = 2 * time.Minute  // without a new segment the answer is cut off
	soundLook     = time.Second / 4  // between two looks while the hub takes no waiters
	soundBeat     = 20 * time.Second // how long one wait in the hub is at most
)

var errShort = errors.New("api: ffmpeg ended before its input did")

var errStalled = errors.New("api: no segment was rendered for too long")

// sound is the body of a speech: samples, as they are or through ffmpeg. One
// goroutine reads it; with ffmpeg a second one, which sound owns, writes.
type sound struct {
	s       *speech
	rate    int              // of the samples that the player gives
	filter  *resample.Stream // nil if the samples stay as they are
	head    []byte           // bytes that go before anything else
	pending []byte           // bytes that are made and not given
	pcm     []byte           // for what the player gives
	in, out []int16          // for the filter
	ended   atomic.Bool      // the player has given everything

	coder  *transcode.Stream // nil without ffmpeg
	fed    chan struct{}     // closed when feeding has ended
	fedErr error             // how, once it has
	stop   context.CancelFunc

	release func() // gives the place of ffmpeg back
}

// sound prepares the body.
func (s *speech) sound(first playback.Segment) (*sound, error) {
	o := &sound{s: s, rate: first.SampleRate, stop: func() {}}
	rate := o.rate
	if s.format == "pcm" && rate != speechPCMRate {
		r, err := resample.New(rate, speechPCMRate)
		if err != nil {
			return nil, &job.Error{Op: "api.sound", JobID: s.id, Kind: job.Internal, Err: err}
		}
		o.filter, rate = r.Stream(), speechPCMRate
	}
	if s.format == "wav" {
		o.head = wav.StreamHeader(rate)
	}
	in := transcode.Input{Format: transcode.Format(s.format), SampleRate: rate, Tempo: s.speed / s.spec.Speed}
	if s.format == "wav" || s.format == "pcm" {
		if in.Tempo == 1 {
			return o, nil
		}
		in.Format = transcode.PCM
	}
	release, err := share(s.a.coders, s.c, "Too much audio is being compressed; try again later, or ask for wav or pcm.")
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(s.c.Context())
	coder, err := s.a.dep.Transcoder.Start(ctx, in)
	if err != nil {
		stop()
		release()
		return nil, err
	}
	o.coder, o.release, o.stop, o.fed = coder, release, stop, make(chan struct{})
	go o.feed(ctx) // ends with ctx or the sound, and is waited for in close
	return o, nil
}

// close ends what the sound holds. No other method may be running.
func (o *sound) close() {
	o.stop()
	if o.coder != nil {
		o.coder.Close()
		<-o.fed
		o.release()
	}
	o.s.player.Close()
}

// pour gives all of the sound to w. It returns nil after the end of it.
func (o *sound) pour(ctx context.Context, w io.Writer) error {
	buf := make([]byte, soundPiece)
	for {
		n, err := o.next(ctx, buf)
		if _, err := w.Write(buf[:n]); err != nil {
			return fmt.Errorf("send sound: %w", err)
		}
		if err == io.EOF { //nolint:errorlint // next returns it unwrapped; wrapped it is a failure
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// next fills dst with what follows. It returns io.EOF, alone, at the end.
func (o *sound) next(ctx context.Context, dst []byte) (int, error) {
	if len(o.head) > 0 {
		n := copy(dst, o.head)
		o.head = o.head[n:]
		return n, nil
	}
	if o.coder == nil {
		return o.samples(ctx, dst)
	}
	n, err := o.coder.Read(dst)
	if err == nil || errors.Is(err, io.EOF) && o.ended.Load() {
		return n, err
	}
	o.stop()
	<-o.fed
	if errors.Is(err, io.EOF) {
		err = errShort
	}
	return 0, fmt.Errorf("compress: %w", errors.Join(o.fedErr, err))
}

// feed gives ffmpeg the samples.
func (o *sound) feed(ctx context.Context) {
	var err error
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("feed ffmpeg: panic: %v", p)
		}
		if err != nil {
			o.stop() // ffmpeg must not end well
		}
		o.fedErr = err
		close(o.fed)
	}()
	buf := make([]byte, soundPiece)
	for {
		n, rerr := o.samples(ctx, buf)
		if _, err = o.coder.Write(buf[:n]); err != nil {
			return
		}
		if errors.Is(rerr, io.EOF) {
			err = o.coder.CloseWrite()
			return
		}
		if err = rerr; err != nil {
			return
		}
	}
}

// samples gives what the player plays, at the rate of the answer.
func (o *sound) samples(ctx context.Context, dst []byte) (int, error) {
	if o.filter == nil {
		return o.play(ctx, dst)
	}
	for len(o.pending) == 0 {
		if o.ended.Load() {
			return 0, io.EOF
		}
		if o.pcm == nil {
			o.pcm = make([]byte, soundPiece)
		}
		n, err := o.play(ctx, o.pcm)
		if err != nil && !errors.Is(err, io.EOF) {
			return 0, err
		}
		o.in, o.out = o.in[:0], o.out[:0]
		for i := 0; i < n; i += 2 {
			o.in = append(o.in, int16(binary.LittleEndian.Uint16(o.pcm[i:]))) //nolint:gosec // the same 16 bits
		}
		o.out = o.filter.Append(o.out, o.in)
		if err != nil {
			o.out = o.filter.Flush(o.out)
		}
		o.pending = wav.AppendSamples(o.pending[:0], o.out)
	}
	n := copy(dst, o.pending)
	o.pending = o.pending[n:]
	return n, nil
}

// play reads the player and waits where it must.
func (o *sound) play(ctx context.Context, dst []byte) (int, error) {
	var since time.Time // that it has nothing to give
	for {
		piece, err := o.s.player.Read(ctx, dst)
		switch {
		case err == nil && piece.SampleRate != o.rate:
			return 0, &job.Error{Op: "api.sound", JobID: o.s.id, Kind: job.Internal, Err: fmt.Errorf("segment %d has %d Hz; want %d", piece.Segment, piece.SampleRate, o.rate)}
		case err == nil:
			return piece.Bytes, nil
		case errors.Is(err, io.EOF):
			o.ended.Store(true)
			return 0, io.EOF
		case !errors.Is(err, playback.ErrNotYet):
			return 0, err
		}
		if since.IsZero() {
			since = time.Now()
		}
		if time.Since(since) > soundStall {
			return 0, &job.Error{Op: "api.sound", JobID: o.s.id, Kind: job.Unavailable, Err: errStalled}
		}
		if err := o.wait(ctx); err != nil {
			return 0, err
		}
	}
}

// wait returns when the job has moved on, or after a while. A hub that takes no
// waiters, because the server stops, does not end a speech that is under way:
// that has the grace of the stop.
func (o *sound) wait(ctx context.Context) error {
	o.s.player.Rest()
	woken := make(chan struct{})
	pause := soundBeat
	cancel, err := o.s.a.dep.Hub.Wait(&watch.Waiter{
		Job: o.s.id, Tenant: o.s.c.Identity.Tenant, Known: o.s.player.Version(), Until: time.Now().Add(soundBeat), Wake: func() { close(woken) },
	})
	if err != nil {
		cancel, pause = func() {}, soundLook
	}
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-woken:
		return nil
	case <-timer.C:
		cancel()
		return nil
	case <-ctx.Done():
		cancel()
		return context.Cause(ctx)
	}
}
