package fetch

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/voicemill/voicemill/platform/lifecycle"
)

// PartSuffix ends the name of a file that is not whole yet.
const PartSuffix = ".part"

// Errors that a caller may want to explain.
var (
	ErrExists  = errors.New("is there already with other content")
	ErrDamaged = errors.New("arrived damaged")
	ErrBusy    = errors.New("is being fetched by another process")
	errStalled = errors.New("no byte arrived for a while")
)

// File is what is to be fetched.
type File struct {
	Name   string // inside the folder
	Bytes  int64
	SHA256 string // lower-case hex
}

// Body is the rest of a file from an offset on. The fetcher closes it.
type Body struct {
	io.ReadCloser
	Offset int64 // where it begins: the one asked for, or 0
}

// Fetcher fetches files one at a time. All fields but Progress are needed.
type Fetcher struct {
	Root     *os.Root
	Replace  bool // whether a file with other content may be replaced
	Open     func(ctx context.Context, name string, offset int64) (Body, error)
	Away     func(error) bool // whether opening again may help
	Progress func(have int64) // told how many bytes there are; may be nil
}

const (
	// How often in a row a transfer may end without a byte more.
	tries      = 5
	firstPause = 250 * time.Millisecond
	// The watchdog ends a transfer that does not move; a slow one may take all day.
	stall = 30 * time.Second
)

// Fetch makes file stand in the folder. kept says that it did so already. When
// it fails, NAME.part keeps what arrived unless that is known to be wrong.
func (f *Fetcher) Fetch(ctx context.Context, file File) (kept bool, err error) {
	if kept, err := f.standing(file); kept || err != nil {
		return kept, err
	}
	part, err := f.openPart(file.Name)
	if err != nil {
		return false, err
	}
	defer func() {
		if cerr := part.Close(); err == nil && cerr != nil {
			err = fmt.Errorf("close %s: %w", file.Name, cerr)
		}
	}()
	if err := f.fill(ctx, file, part); err != nil {
		if errors.Is(err, ErrDamaged) {
			err = errors.Join(err, f.Root.Remove(file.Name+PartSuffix))
		}
		return false, err
	}
	if err := part.Sync(); err != nil {
		return false, fmt.Errorf("store %s: %w", file.Name, err)
	}
	if err := f.Root.Rename(file.Name+PartSuffix, file.Name); err != nil {
		return false, fmt.Errorf("store %s: %w", file.Name, err)
	}
	return false, nil
}

// standing reports whether the file stands whole, and fails if another does
// that must not be replaced.
func (f *Fetcher) standing(file File) (bool, error) {
	there, err := f.Root.Open(file.Name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look at %s: %w", file.Name, err)
	}
	defer there.Close() //nolint:errcheck // only read
	info, err := there.Stat()
	if err != nil {
		return false, fmt.Errorf("look at %s: %w", file.Name, err)
	}
	if info.Mode().IsRegular() && info.Size() == file.Bytes {
		h := sha256.New()
		if _, err := io.Copy(h, there); err != nil {
			return false, fmt.Errorf("look at %s: %w", file.Name, err)
		}
		if hex.EncodeToString(h.Sum(nil)) == file.SHA256 {
			return true, nil
		}
	}
	if !f.Replace || !info.Mode().IsRegular() {
		return false, fmt.Errorf("%s %w", file.Name, ErrExists)
	}
	return false, nil
}

// openPart opens NAME.part for this process alone.
func (f *Fetcher) openPart(name string) (*os.File, error) {
	part, err := f.Root.OpenFile(name+PartSuffix, os.O_RDWR|os.O_CREATE, 0o666)
	if err != nil {
		return nil, fmt.Errorf("create %s: %w", name+PartSuffix, err)
	}
	err = unix.Flock(int(part.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		err = ErrBusy
	}
	if err == nil {
		err = f.still(part, name+PartSuffix)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", name, err), part.Close())
	}
	return part, nil
}

// still fails if name is no longer the file that was opened: another process
// may have finished and renamed it before the lock was ours.
func (f *Fetcher) still(part *os.File, name string) error {
	ours, err := part.Stat()
	if err != nil {
		return err
	}
	now, err := f.Root.Lstat(name)
	if err != nil || !os.SameFile(ours, now) {
		return ErrBusy
	}
	return nil
}

// fill reads until part has every byte and the right digest.
func (f *Fetcher) fill(ctx context.Context, file File, part *os.File) error {
	have, sum, err := resume(part, file.Bytes)
	if err != nil {
		return err
	}
	resumed := have > 0
	pause := firstPause
	for failed := 0; ; {
		before := have
		have, err = f.more(ctx, file, part, have, sum)
		switch {
		case err == nil && hex.EncodeToString(sum.Sum(nil)) == file.SHA256:
			return nil
		case err == nil || errors.Is(err, ErrDamaged):
			// What a former run left may be of another job: once more from the start.
			if !resumed {
				return fmt.Errorf("%s %w: its size or SHA-256 is not what the job says", file.Name, ErrDamaged)
			}
			resumed, have = false, 0
			if err := restart(part, sum); err != nil {
				return err
			}
			continue
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case !f.Away(err) && !errors.Is(err, errBroken):
			return err
		}
		if have > before {
			failed, pause = 0, firstPause
		}
		if failed++; failed == tries {
			return fmt.Errorf("fetch %s: %w", file.Name, err)
		}
		if !lifecycle.Sleep(ctx, pause) {
			return context.Cause(ctx)
		}
		pause *= 2
	}
}

// resume hashes what part holds already. More than limit bytes are nothing.
func resume(part *os.File, limit int64) (int64, hash.Hash, error) {
	sum := sha256.New()
	have, err := io.Copy(sum, io.LimitReader(part, limit+1))
	if err != nil {
		return 0, nil, fmt.Errorf("read %s: %w", part.Name(), err)
	}
	if have > limit {
		return 0, sum, restart(part, sum)
	}
	return have, sum, nil
}

func restart(part *os.File, sum hash.Hash) error {
	sum.Reset()
	if err := part.Truncate(0); err != nil {
		return fmt.Errorf("start %s again: %w", part.Name(), err)
	}
	return nil
}

// errBroken says that a body ended or broke before its time.
var errBroken = errors.New("the transfer broke off")

// more appends what one body brings and returns how many bytes there are then;
// it is nil-errored only if that is all of them.
func (f *Fetcher) more(ctx context.Context, file File, part *os.File, have int64, sum hash.Hash) (int64, error) {
	if have == file.Bytes {
		return have, nil
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watchdog := time.AfterFunc(stall, func() { cancel(errStalled) })
	defer watchdog.Stop()
	body, err := f.Open(ctx, file.Name, have)
	if err != nil {
		return have, broken(ctx, err)
	}
	defer body.Close() //nolint:errcheck // every byte that counts was read
	if body.Offset != have {
		have = 0
		if err := restart(part, sum); err != nil {
			return have, err
		}
	}
	buf := make([]byte, 256<<10)
	for {
		n, rerr := body.Read(buf)
		watchdog.Reset(stall)
		if have+int64(n) > file.Bytes {
			return have, fmt.Errorf("%w: it is longer than the job says", ErrDamaged)
		}
		if n > 0 {
			if _, err := part.WriteAt(buf[:n], have); err != nil {
				return have, fmt.Errorf("write %s: %w", file.Name, err)
			}
			sum.Write(buf[:n]) // never fails, as package hash says
			have += int64(n)
			if f.Progress != nil {
				f.Progress(have)
			}
		}
		switch {
		case errors.Is(rerr, io.EOF) && have == file.Bytes:
			return have, nil
		case errors.Is(rerr, io.EOF):
			return have, fmt.Errorf("%w after %d of %d bytes", errBroken, have, file.Bytes)
		case rerr != nil:
			return have, fmt.Errorf("%w after %d of %d bytes: %w", errBroken, have, file.Bytes, rerr)
		}
	}
}

// broken prefers the watchdog's word over the error that it caused.
func broken(ctx context.Context, err error) error {
	if errors.Is(context.Cause(ctx), errStalled) {
		return fmt.Errorf("%w: %w", errBroken, errStalled)
	}
	return err
}
