package playback_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/voicemill/voicemill/gateway/internal/playback"
	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/wav"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const rate = 1000

// desk is a job and its bucket in memory.
type desk struct {
	track   playback.Track
	objects map[string][]byte
	breaks  int // how often reading an object breaks off
	open    int // bodies that are open
	opened  int
	looks   int
}

func newDesk(breaks ...string) *desk {
	d := &desk{objects: map[string][]byte{}, track: playback.Track{
		Version: 1, State: job.StateQueued, Total: len(breaks), Pauses: job.Pauses{Sentence: 0.01, Paragraph: 0.02, Chapter: 0.5},
	}}
	for i, b := range breaks {
		d.track.Segments = append(d.track.Segments, playback.Segment{N: i + 1, Chapter: 1, State: job.SegmentPending, BreakAfter: b})
	}
	return d
}

// render makes segment n sound like n, n, n, ….
func (d *desk) render(n, samples int) []byte {
	sound := slices.Repeat([]int16{int16(n)}, samples)
	key := "r/" + strings.Repeat("x", n)
	d.objects[key] = wav.Encode(rate, sound)
	s := &d.track.Segments[n-1]
	s.State, s.ObjectKey, s.SampleRate, s.Samples, s.Bytes = job.SegmentDone, key, rate, int64(samples), int64(len(d.objects[key]))
	d.track.Version++
	return wav.AppendSamples(nil, sound)
}

func (d *desk) fail(n int) {
	d.track.Segments[n-1].State, d.track.Segments[n-1].ErrorDetail = job.SegmentFailed, "no sound"
	d.track.Version++
}

func (d *desk) Track(_ context.Context, _ job.Tenant, _ job.ID, after, limit int) (playback.Track, error) {
	d.looks++
	t := d.track
	t.Segments = slices.Clone(t.Segments[min(after, len(t.Segments)):])
	t.Segments = t.Segments[:min(limit, len(t.Segments))]
	return t, nil
}

func (d *desk) Open(_ context.Context, key string, offset int64) (io.ReadCloser, int64, error) {
	object, ok := d.objects[key]
	if !ok {
		return nil, 0, &job.Error{Op: "desk.Open", Kind: job.NotFound}
	}
	d.open++
	d.opened++
	var r io.Reader = bytes.NewReader(object[offset:])
	if d.breaks > 0 {
		d.breaks--
		r = io.MultiReader(io.LimitReader(r, 50), iotest.ErrReader(errors.New("reset")))
	}
	return &body{r, d}, int64(len(object)), nil
}

type body struct {
	io.Reader
	d *desk
}

func (b *body) Close() error {
	b.d.open--
	return nil
}

// play reads until the player has nothing, in pieces of odd sizes.
func play(t *testing.T, p *playback.Player, rest bool) (sound []byte, pieces []playback.Piece, err error) {
	t.Helper()
	buf := make([]byte, 300)
	for {
		piece, err := p.Read(t.Context(), buf[:rand.IntN(298)+2])
		if err != nil {
			return sound, pieces, err
		}
		require.Zero(t, piece.Bytes%2)
		require.Equal(t, rate, piece.SampleRate)
		sound = append(sound, buf[:piece.Bytes]...)
		pieces = append(pieces, piece)
		if rest && rand.IntN(3) == 0 {
			p.Rest()
		}
	}
}

func silence(seconds float64) []byte { return make([]byte, 2*int(math.Round(seconds*rate))) }

func player(d *desk, change func(*playback.Config)) *playback.Player {
	c := playback.Config{Store: d, Bucket: d, Tenant: "t", Job: "job_x"}
	if change != nil {
		change(&c)
	}
	return playback.New(c)
}

func TestSegmentsAreHeardInOrderAsSoonAsThoseBeforeThemAre(t *testing.T) {
	t.Parallel()
	for name, rest := range map[string]bool{"in one go": false, "with rests": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDesk("sentence", "paragraph", "chapter", "none", "chapter")
			p := player(d, nil)
			defer p.Close()
			_, err := p.Ready(t.Context())
			require.ErrorIs(t, err, playback.ErrNotYet)
			require.Equal(t, int64(1), p.Version())
			two := d.render(2, 500)
			_, _, err = play(t, p, rest)
			require.ErrorIs(t, err, playback.ErrNotYet, "the second waits for the first")
			one := d.render(1, 400)
			first, err := p.Ready(t.Context())
			require.NoError(t, err)
			require.Equal(t, 1, first.N)
			sound, pieces, err := play(t, p, rest)
			require.ErrorIs(t, err, playback.ErrNotYet)
			require.Equal(t, slices.Concat(one, silence(0.01), two), sound)
			require.True(t, pieces[len(pieces)-1].Last)
			require.Equal(t, d.track.Version, p.Version())
			looks := d.looks
			three, four, five := d.render(3, 1), d.render(4, 2), d.render(5, 3)
			d.track.State = job.StateSucceeded
			sound, _, err = play(t, p, rest)
			require.ErrorIs(t, err, io.EOF)
			require.Equal(t, slices.Concat(silence(0.02), three, silence(0.5), four, five), sound, "the silence at the end is left out")
			require.Equal(t, looks+1, d.looks, "rows are read by the page, and the end is known")
			p.Close()
			require.Zero(t, d.open)
		})
	}
}

func TestReadingGoesOnWhereItBrokeOff(t *testing.T) {
	t.Parallel()
	d := newDesk("chapter")
	want := d.render(1, 1000)
	d.breaks = 2
	p := player(d, nil)
	defer p.Close()
	sound, _, err := play(t, p, false)
	require.ErrorIs(t, err, io.EOF)
	require.Equal(t, want, sound)
	require.Equal(t, 3, d.opened)

	d.breaks = 3
	again := player(d, nil)
	defer again.Close()
	buf := make([]byte, 2000)
	_, err = again.Read(t.Context(), buf)
	require.Equal(t, job.Unavailable, job.KindOf(err))
}

func TestSoundBeginsAtASegmentOfTheListenersChoice(t *testing.T) {
	t.Parallel()
	d := newDesk("sentence", "sentence", "chapter")
	d.render(1, 5)
	want := slices.Concat(d.render(2, 6), silence(0.01), d.render(3, 7))
	p := player(d, func(c *playback.Config) { c.From = 2 })
	defer p.Close()
	sound, pieces, err := play(t, p, false)
	require.ErrorIs(t, err, io.EOF)
	require.Equal(t, want, sound)
	require.Equal(t, 2, pieces[0].Segment)
	beyond := player(d, func(c *playback.Config) { c.From = 4 })
	defer beyond.Close()
	_, _, err = play(t, beyond, false)
	require.ErrorIs(t, err, io.EOF)
}

func TestAFailedSegmentEndsTheSoundOrIsPassedOver(t *testing.T) {
	t.Parallel()
	d := newDesk("sentence", "paragraph", "sentence", "chapter")
	one, four := d.render(1, 5), d.render(4, 6)
	d.fail(2)
	d.fail(3)
	p := player(d, nil)
	defer p.Close()
	sound, _, err := play(t, p, false)
	require.Equal(t, job.Engine, job.KindOf(err))
	require.Equal(t, "Segment 2 could not be spoken: no sound", job.PublicOf(err, ""))
	require.Equal(t, one, sound)

	partial := player(d, func(c *playback.Config) { c.Partial = true })
	defer partial.Close()
	sound, _, err = play(t, partial, false)
	require.ErrorIs(t, err, io.EOF)
	require.Equal(t, slices.Concat(one, silence(0.02), four), sound, "the longest of the pauses between them")
}

func TestWhatIsWrongWithAJobIsTold(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		happens func(*desk)
		kind    job.Kind
	}{
		"cancelled":              {func(d *desk) { d.track.State = job.StateCancelled }, job.Cancelled},
		"failed in planning":     {func(d *desk) { d.track = playback.Track{Version: 2, State: job.StateFailed, ErrorKind: job.Invalid} }, job.Invalid},
		"renditions are gone":    {func(d *desk) { d.track.State = job.StateSucceeded }, job.NotFound},
		"text is gone":           {func(d *desk) { d.track.State, d.track.Segments = job.StateSucceeded, nil }, job.NotFound},
		"an object is gone":      {func(d *desk) { d.render(1, 5); clear(d.objects); d.track.State = job.StateSucceeded }, job.Internal},
		"an object is another's": {func(d *desk) { d.render(1, 5); d.track.Segments[0].Bytes++ }, job.Internal},
		"a row is nonsense":      {func(d *desk) { d.render(1, 5); d.track.Segments[0].Samples = 500 }, job.Internal},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDesk("sentence", "chapter")
			c.happens(d)
			p := player(d, nil)
			defer p.Close()
			_, err := p.Ready(t.Context())
			require.Error(t, err)
			require.NotErrorIs(t, err, playback.ErrNotYet)
			require.NotErrorIs(t, err, io.EOF)
			require.Equal(t, c.kind, job.KindOf(err))
			require.Zero(t, d.open)
		})
	}
}

func TestAnObjectThatIsGoneIsWaitedForWhileTheJobRuns(t *testing.T) {
	t.Parallel()
	d := newDesk("sentence", "chapter")
	d.render(1, 5)
	d.render(2, 5)
	kept := d.objects
	d.objects = map[string][]byte{"r/x": kept["r/x"]}
	p := player(d, nil)
	defer p.Close()
	_, _, err := play(t, p, false)
	require.ErrorIs(t, err, playback.ErrNotYet)
	d.objects = kept
	sound, _, err := play(t, p, false)
	require.ErrorIs(t, err, io.EOF)
	require.Len(t, sound, len(silence(0.01))+10, "the pause before it is not lost")
}

// That the last segment was played needs no look.
func TestTheEndIsKnownWithoutALook(t *testing.T) {
	t.Parallel()
	d := newDesk("sentence", "chapter")
	d.render(1, 10)
	d.render(2, 10)
	p := player(d, nil)
	defer p.Close()
	_, _, err := play(t, p, false)
	require.ErrorIs(t, err, io.EOF)
	require.Equal(t, 1, d.looks)
}
