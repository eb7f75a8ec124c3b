package operation

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/voicemill/voicemill/gateway/internal/playback"
	"github.com/voicemill/voicemill/gateway/internal/stage"
	"github.com/voicemill/voicemill/gateway/internal/transcode"
	"github.com/voicemill/voicemill/gateway/internal/watch"
	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/ffmpeg"
	"github.com/voicemill/voicemill/platform/lifecycle"
	"github.com/voicemill/voicemill/platform/resample"
	"github.com/voicemill/voicemill/platform/wav"
)

const (
	speechPCMRate = 24_000           // Hz of response_format pcm, as OpenAI's API documents
	voicePiece    = 16 << 10         // bytes that are read at a time
	voiceStall    = 2 * time.Minute  // without a new segment the answer is cut off
	voiceLook     = time.Second / 4  // between two looks while the hub takes no waiters
	voiceBeat     = 20 * time.Second // how long one wait in the hub is at most
)

var errShort = errors.New("operation: ffmpeg ended before its input did")

var errStalled = errors.New("operation: no segment was rendered for too long")

// voice is the body of a speech: samples, as they are or through ffmpeg. One
// goroutine reads it; with ffmpeg a second one, which voice owns, writes.
type voice struct {
	s       *speech
	rate    int              // of the samples that the player gives
	filter  *resample.Stream // nil if the samples stay as they are
	head    []byte           // bytes that go before anything else
	pending []byte           // bytes that are made and not given
	pcm     []byte           // for what the player gives
	in, out []int16          // for the filter
	ended   atomic.Bool      // the player has given everything

	coder  *ffmpeg.Stream // nil without ffmpeg
	fed    chan struct{}  // closed when feeding has ended
	fedErr error          // how, once it has
	stop   context.CancelFunc

	release func() // gives the place of ffmpeg back
}

// voice prepares the body.
func (s *speech) voice(ctx context.Context, first playback.Segment) (*voice, error) {
	v := &voice{s: s, rate: first.SampleRate, stop: func() {}}
	rate := v.rate
	if s.format == "pcm" && rate != speechPCMRate {
		r, err := resample.New(rate, speechPCMRate)
		if err != nil {
			return nil, &job.Error{Op: "operation.Speak", JobID: s.id, Kind: job.Internal, Err: err}
		}
		v.filter, rate = r.Stream(), speechPCMRate
	}
	if s.format == "wav" {
		v.head = wav.StreamHeader(rate)
	}
	in := transcode.Input{Format: transcode.Format(s.format), SampleRate: rate, Tempo: s.speed / s.spec.Speed}
	if s.format == "wav" || s.format == "pcm" {
		if in.Tempo == 1 {
			return v, nil
		}
		in.Format = transcode.PCM
	}
	release, err := share(s.o.coders, s.c, "Too much audio is being compressed; try again later, or ask for wav or pcm.")
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(stage.With(ctx, nil)) // two goroutines have it
	coder, err := s.o.dep.Transcoder.Start(ctx, in)
	if err != nil {
		stop()
		release()
		return nil, err
	}
	v.coder, v.release, v.stop, v.fed = coder, release, stop, make(chan struct{})
	go v.feed(ctx) // ends with ctx or the sound, and is waited for in close
	return v, nil
}

// close ends what the sound holds. No other method may be running.
func (v *voice) close() {
	v.stop()
	if v.coder != nil {
		v.coder.Close()
		<-v.fed
		v.release()
	}
	v.s.player.Close()
}

// pour gives all of the sound to w. It returns nil after the end of it.
func (v *voice) pour(ctx context.Context, w io.Writer) error {
	buf := make([]byte, voicePiece)
	for {
		n, err := v.next(ctx, buf)
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
func (v *voice) next(ctx context.Context, dst []byte) (int, error) {
	if len(v.head) > 0 {
		n := copy(dst, v.head)
		v.head = v.head[n:]
		return n, nil
	}
	if v.coder == nil {
		return v.samples(ctx, dst)
	}
	n, err := v.coder.Read(dst)
	if err == nil || errors.Is(err, io.EOF) && v.ended.Load() {
		return n, err
	}
	v.stop()
	<-v.fed
	if errors.Is(err, io.EOF) {
		err = errShort
	}
	return 0, fmt.Errorf("compress: %w", errors.Join(v.fedErr, err))
}

// feed gives ffmpeg the samples.
func (v *voice) feed(ctx context.Context) {
	var err error
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("feed ffmpeg: panic: %v", p)
		}
		if err != nil {
			v.stop() // ffmpeg must not end well
		}
		v.fedErr = err
		close(v.fed)
	}()
	buf := make([]byte, voicePiece)
	for {
		n, rerr := v.samples(ctx, buf)
		if _, err = v.coder.Write(buf[:n]); err != nil {
			return
		}
		if errors.Is(rerr, io.EOF) {
			err = v.coder.CloseWrite()
			return
		}
		if err = rerr; err != nil {
			return
		}
	}
}

// samples gives what the player plays, at the rate of the answer.
func (v *voice) samples(ctx context.Context, dst []byte) (int, error) {
	if v.filter == nil {
		return v.play(ctx, dst)
	}
	for len(v.pending) == 0 {
		if v.ended.Load() {
			return 0, io.EOF
		}
		if v.pcm == nil {
			v.pcm = make([]byte, voicePiece)
		}
		n, err := v.play(ctx, v.pcm)
		if err != nil && !errors.Is(err, io.EOF) {
			return 0, err
		}
		v.in, v.out = v.in[:0], v.out[:0]
		for i := 0; i < n; i += 2 {
			v.in = append(v.in, int16(binary.LittleEndian.Uint16(v.pcm[i:]))) //nolint:gosec // the same 16 bits
		}
		v.out = v.filter.Append(v.out, v.in)
		if err != nil {
			v.out = v.filter.Flush(v.out)
		}
		v.pending = wav.AppendSamples(v.pending[:0], v.out)
	}
	n := copy(dst, v.pending)
	v.pending = v.pending[n:]
	return n, nil
}

// play reads the player and waits where it must.
func (v *voice) play(ctx context.Context, dst []byte) (int, error) {
	var since time.Time // that it has nothing to give
	for {
		piece, err := v.s.player.Read(ctx, dst)
		switch {
		case err == nil && piece.SampleRate != v.rate:
			return 0, &job.Error{Op: "operation.Speak", JobID: v.s.id, Kind: job.Internal, Err: fmt.Errorf("segment %d has %d Hz; want %d", piece.Segment, piece.SampleRate, v.rate)}
		case err == nil:
			return piece.Bytes, nil
		case errors.Is(err, io.EOF):
			v.ended.Store(true)
			return 0, io.EOF
		case !errors.Is(err, playback.ErrNotYet):
			return 0, err
		}
		if since.IsZero() {
			since = time.Now()
		}
		if time.Since(since) > voiceStall {
			return 0, &job.Error{Op: "operation.Speak", JobID: v.s.id, Kind: job.Unavailable, Err: errStalled}
		}
		if err := v.wait(ctx); err != nil {
			return 0, err
		}
	}
}

// wait returns when the job has moved on, or after a while. A hub that takes no
// waiters, because the server stops, does not end a speech that is under way:
// that has the grace of the stop.
func (v *voice) wait(ctx context.Context) error {
	v.s.player.Rest()
	err := v.s.o.dep.Hub.Await(ctx, watch.Waiter{Job: v.s.id, Tenant: v.s.c.Tenant, Known: v.s.player.Version(), Until: time.Now().Add(voiceBeat)})
	if err == nil || ctx.Err() != nil {
		return err
	}
	lifecycle.Sleep(ctx, voiceLook)
	return context.Cause(ctx)
}
