package playback

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"

	"github.com/voicemill/voicemill/job"
)

// ErrNotYet says that the next sound is not rendered yet: wait until the job has
// another version than [Player.Version].
var ErrNotYet = errors.New("playback: the next segment is not rendered yet")

// ErrEnded is in the tree of the error that ends the sound of a job that was
// cancelled or has failed.
var ErrEnded = errors.New("playback: the job has ended before its sound")

const (
	bytesPerSample = 2
	page           = 32 // rows read at a time
	opens          = 3  // of one stretch of an object, before its reading has failed
)

// Config says what is played. Store, Bucket, Tenant and Job are needed.
type Config struct {
	Store  Store
	Bucket Bucket
	Tenant job.Tenant
	Job    job.ID
	From   int // first segment that is wanted; 0 and 1 are the first of all
	// Partial passes over segments that have failed. Without it they end the sound.
	Partial bool
}

// Piece is a stretch of the sound of one segment.
type Piece struct {
	Segment    int
	Chapter    int
	SampleRate int  // hertz
	Bytes      int  // of samples, mono, 16-bit, little endian
	Last       bool // of the segment
}

// Player reads the sound of one job once, from its beginning to its end. It must
// be closed. It is not safe for concurrent use.
type Player struct {
	cfg   Config
	track Track     // as last read
	ahead []Segment // of it, those that are not begun

	at     int     // number of the last segment that is behind
	gap    float64 // seconds of silence that the next segment is owed
	placed bool    // a segment was played, so silence is owed at all

	cur     *Segment // the segment that is played; nil between two
	silence int64    // bytes of silence before cur that are left
	pos     int64    // bytes of cur's samples that were read
	body    io.ReadCloser
}

// New returns a player that has read nothing yet.
func New(cfg Config) *Player { return &Player{cfg: cfg, at: max(cfg.From-1, 0)} }

// Version returns the version of the job that the player has seen, for who waits
// for another after ErrNotYet.
func (p *Player) Version() int64 { return p.track.Version }

// Close frees what the player holds.
func (p *Player) Close() { p.Rest() }

// Rest closes the connection to the bucket until the next Read. ctx of that read
// bounds the new one.
func (p *Player) Rest() {
	if p.body != nil {
		_ = p.body.Close() // what is not read now is read again later
		p.body = nil
	}
}

// Ready looks for the next segment and opens it. It returns the segment, or an
// error as [Player.Read] does.
func (p *Player) Ready(ctx context.Context) (Segment, error) {
	if err := p.load(ctx); err != nil {
		return Segment{}, err
	}
	if err := p.open(ctx); err != nil {
		return Segment{}, err
	}
	return *p.cur, nil
}

// Read fills dst, as far as it holds whole samples, with the next sound of one
// segment. It returns [ErrNotYet], or [io.EOF] after the last segment. Any other
// error is a *job.Error and ends the sound; ctx bounds the reading until
// [Player.Rest], not only this call.
func (p *Player) Read(ctx context.Context, dst []byte) (Piece, error) {
	if err := p.load(ctx); err != nil {
		return Piece{}, err
	}
	if err := p.open(ctx); err != nil {
		return Piece{}, err
	}
	dst = dst[:len(dst)/bytesPerSample*bytesPerSample]
	piece := Piece{Segment: p.cur.N, Chapter: p.cur.Chapter, SampleRate: p.cur.SampleRate}
	if p.silence > 0 {
		piece.Bytes = int(min(p.silence, int64(len(dst))))
		clear(dst[:piece.Bytes])
		p.silence -= int64(piece.Bytes)
		return piece, nil
	}
	piece.Bytes = int(min(p.left(), int64(len(dst))))
	if err := p.fill(ctx, dst[:piece.Bytes]); err != nil {
		return Piece{}, err
	}
	if p.left() == 0 {
		piece.Last = true
		p.finish()
	}
	return piece, nil
}

// left is how many bytes of samples of the segment are to come.
func (p *Player) left() int64 { return p.cur.Samples*bytesPerSample - p.pos }

// fill reads samples. An object is opened anew where reading it broke off.
func (p *Player) fill(ctx context.Context, dst []byte) error {
	var err error
	for range opens {
		if err = p.open(ctx); err != nil {
			return err
		}
		var n int
		n, err = io.ReadFull(p.body, dst)
		p.pos += int64(n)
		dst = dst[n:]
		if err == nil {
			return nil
		}
		p.Rest()
		if ctx.Err() != nil {
			break
		}
	}
	return p.fail(job.Unavailable, "", fmt.Errorf("read %s: %w", p.cur.ObjectKey, err))
}

// open opens the object of the segment where reading goes on.
func (p *Player) open(ctx context.Context) error {
	if p.body != nil {
		return nil
	}
	header := p.cur.Bytes - p.cur.Samples*bytesPerSample
	if header < 0 || p.cur.SampleRate < 1 {
		return p.fail(job.Internal, "", fmt.Errorf("segment %d has %d samples at %d Hz in %d bytes", p.cur.N, p.cur.Samples, p.cur.SampleRate, p.cur.Bytes))
	}
	body, size, err := p.cfg.Bucket.Open(ctx, p.cur.ObjectKey, header+p.pos)
	switch {
	case err == nil && size == p.cur.Bytes:
		p.body = body
		return nil
	case err == nil:
		_ = body.Close() // it is not what the row says
		return p.fail(job.Internal, "", fmt.Errorf("object %s has %d bytes; want %d", p.cur.ObjectKey, size, p.cur.Bytes))
	case job.KindOf(err) == job.NotFound && p.pos == 0 && !p.track.State.Final():
		// Whoever joins the chapter finds this too, and has it rendered again.
		p.ahead = nil
		p.cur = nil
		return ErrNotYet
	}
	kind := job.KindOf(err)
	if kind == job.NotFound {
		kind = job.Internal // a row names an object that is gone
	}
	return p.fail(kind, job.PublicOf(err, ""), err)
}

// finish leaves the segment behind.
func (p *Player) finish() {
	p.Rest()
	p.at, p.gap, p.placed = p.cur.N, p.pause(p.cur.BreakAfter), true
	p.cur = nil
}

// load makes the next segment the current one.
func (p *Player) load(ctx context.Context) error {
	for fresh := false; p.cur == nil; {
		if len(p.ahead) == 0 {
			if p.track.Total > 0 && p.at >= p.track.Total {
				return p.nothing() // nothing can come any more
			}
			if err := p.look(ctx); err != nil {
				return err
			}
			fresh = true
			if len(p.ahead) == 0 {
				return p.nothing()
			}
		}
		s := p.ahead[0]
		switch {
		case s.ObjectKey != "":
			p.begin(&s)
			p.ahead = p.ahead[1:]
		case s.State == job.SegmentFailed:
			if !p.cfg.Partial {
				return p.fail(job.Engine, fmt.Sprintf("Segment %d could not be spoken: %s", s.N, s.ErrorDetail), nil)
			}
			p.at, p.gap = s.N, max(p.gap, p.pause(s.BreakAfter))
			p.ahead = p.ahead[1:]
		default:
			p.ahead = nil // it may have moved on since it was read
			if fresh {
				return p.nothing()
			}
		}
	}
	return nil
}

func (p *Player) look(ctx context.Context) error {
	t, err := p.cfg.Store.Track(ctx, p.cfg.Tenant, p.cfg.Job, p.at, page)
	if err != nil {
		return err
	}
	p.track, p.ahead = t, t.Segments
	return nil
}

// nothing says why there is no next segment now.
func (p *Player) nothing() error {
	t := &p.track
	switch {
	case t.State == job.StateCancelled:
		return p.fail(job.Cancelled, "The job was cancelled.", ErrEnded)
	case t.Total > 0 && p.at >= t.Total:
		return io.EOF
	case t.State == job.StateFailed:
		return p.fail(t.ErrorKind, t.ErrorDetail, ErrEnded)
	case t.State.Final(): // a job that has ended had all its audio once: its text or its renditions are gone
		return p.fail(job.NotFound, "The sound of this job is kept no longer, segment by segment; its files may be.",
			fmt.Errorf("the job is %s, but segment %d of %d has no audio", t.State, p.at+1, t.Total))
	}
	return ErrNotYet
}

func (p *Player) begin(s *Segment) {
	p.cur, p.pos, p.silence = s, 0, 0
	if p.placed {
		p.silence = int64(math.Round(p.gap*float64(s.SampleRate))) * bytesPerSample
	}
}

// pause is the silence after a segment, in seconds.
func (p *Player) pause(breakAfter string) float64 {
	switch breakAfter {
	case "sentence":
		return p.track.Pauses.Sentence
	case "paragraph":
		return p.track.Pauses.Paragraph
	case "chapter":
		return p.track.Pauses.Chapter
	}
	return 0
}

func (p *Player) fail(kind job.Kind, public string, cause error) error {
	return &job.Error{Op: "playback.Read", JobID: p.cfg.Job, Kind: kind, Public: public, Err: cause}
}
