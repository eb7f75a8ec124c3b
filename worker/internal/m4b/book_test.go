package m4b_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/worker/internal/m4b"
)

// config is AAC-LC of 44.1 kHz with one channel.
func config() []byte { return []byte{0x12, 0x08} }

// chapter has packets of these sizes.
func chapter(title string, sizes ...uint16) m4b.Chapter {
	h := &m4b.Head{Sizes: sizes, Config: config(), Rate: 44_100}
	for _, n := range sizes {
		h.Bytes += int64(n)
	}
	return m4b.Chapter{Title: title, Head: h}
}

func book(chapters ...m4b.Chapter) m4b.Book {
	return m4b.Book{
		Language: "eng", Tags: []m4b.Tag{{Name: "title", Value: "The Mill"}, {Name: "series", Value: "S"}, {Name: "comment"}}, Cover: []byte("\xff\xd8"), CoverType: "image/jpeg",
		Chapters: chapters,
	}
}

// write returns a whole file, whose packets are of one letter each.
func write(tb testing.TB, b m4b.Book) []byte {
	tb.Helper()
	f, err := m4b.New(b)
	require.NoError(tb, err)
	var buf bytes.Buffer
	require.NoError(tb, f.WriteHead(&buf))
	n := 0
	for _, c := range b.Chapters {
		for _, size := range c.Head.Sizes {
			buf.WriteString(strings.Repeat(string(rune('a'+n%26)), int(size)))
			n++
		}
	}
	require.Equal(tb, f.Size, int64(buf.Len()))
	require.Equal(tb, int64(n*m4b.Packet), f.Samples)
	return buf.Bytes()
}

// What is written is what is read, and each packet is where the tables say.
func TestABookIsReadAsItWasWritten(t *testing.T) {
	t.Parallel()
	long := make([]uint16, 100)
	for i := range long {
		long[i] = uint16(i + 1)
	}
	for name, b := range map[string]m4b.Book{
		"one packet":             book(chapter("One", 7)),
		"chapters across chunks": book(chapter("One", 7, 8, 9), chapter("Zwei", long...), chapter("", 1)),
		"no cover, no words":     {Chapters: []m4b.Chapter{chapter("Ü", long...)}},
	} {
		raw := write(t, b)
		h, err := m4b.ReadHead(bytes.NewReader(raw))
		require.NoError(t, err, name)
		var sizes []uint16
		for _, c := range b.Chapters {
			sizes = append(sizes, c.Head.Sizes...)
		}
		require.Equal(t, sizes, h.Sizes, name)
		require.Equal(t, config(), h.Config, name)
		require.Equal(t, 44_100, h.Rate, name)
		require.Equal(t, strings.Repeat("a", int(sizes[0])), string(raw[h.At:h.At+int64(sizes[0])]), name)
		require.Len(t, raw, int(h.At+h.Bytes), name)
	}
}

func TestABookOfManyDaysIsWrittenWithoutItsPackets(t *testing.T) {
	t.Parallel()
	sizes := slices.Repeat([]uint16{2000}, 14_000) // times 300: more than 4 GiB of sound, more than 32 bits of samples
	var chapters []m4b.Chapter
	for n := range 300 { // more than Nero's list takes
		chapters = append(chapters, chapter(fmt.Sprintf("Chapter %d", n+1), sizes...))
	}
	f, err := m4b.New(book(chapters...))
	require.NoError(t, err)
	var head bytes.Buffer
	require.NoError(t, f.WriteHead(&head))
	require.Equal(t, f.Size, int64(head.Len())+300*chapters[0].Head.Bytes)
	require.Greater(t, f.Size, int64(1)<<32)
	require.Contains(t, head.String(), "co64")
}

func TestWhatCannotBeBoundIsRefused(t *testing.T) {
	t.Parallel()
	other := chapter("Two", 1)
	other.Head.Rate = 22_050
	for name, b := range map[string]m4b.Book{"nothing": book(), "two rates": book(chapter("One", 1), other)} {
		_, err := m4b.New(b)
		require.Error(t, err, name)
	}
	whole := write(t, book(chapter("One", 7, 8, 9)))
	for name, change := range map[string]func(b []byte) []byte{
		"nothing":              func([]byte) []byte { return nil },
		"its half":             func(b []byte) []byte { return b[:len(b)/2-40] },
		"another codec":        func(b []byte) []byte { return bytes.Replace(b, []byte("mp4a"), []byte("alac"), 1) },
		"no sizes":             func(b []byte) []byte { return bytes.Replace(b, []byte("stsz"), []byte("free"), 1) },
		"no tables":            func(b []byte) []byte { return bytes.Replace(b, []byte("moov"), []byte("free"), 1) },
		"packets elsewhere":    func(b []byte) []byte { at := bytes.Index(b, []byte("stco")); b[at+12]++; return b },
		"more packets in runs": func(b []byte) []byte { at := bytes.Index(b, []byte("stsc")); b[at+19] = 1; return b },
		"a box without end":    func(b []byte) []byte { binary.BigEndian.PutUint32(b, 1<<31); return b },
	} {
		_, err := m4b.ReadHead(bytes.NewReader(change(bytes.Clone(whole))))
		require.Error(t, err, name)
	}
}

// A bucket that is away is not a file that is broken.
func TestWhyAFileCannotBeReadIsKept(t *testing.T) {
	t.Parallel()
	whole := write(t, book(chapter("One", 7, 8, 9)))
	h, err := m4b.ReadHead(bytes.NewReader(whole))
	require.NoError(t, err)
	tables := bytes.Index(whole, []byte("mdat")) + 12 // with a size of 64 bits
	require.LessOrEqual(t, int64(tables), h.At)
	for _, cause := range []error{io.EOF, io.ErrUnexpectedEOF, io.ErrClosedPipe} {
		away := &job.Error{Op: "test", Kind: job.Unavailable, Err: cause}
		for at := range tables {
			_, err := m4b.ReadHead(io.MultiReader(bytes.NewReader(whole[:at]), iotest.ErrReader(away)))
			require.ErrorIs(t, err, away, "after %d bytes", at)
		}
	}
	_, err = m4b.ReadHead(bytes.NewReader(whole[:tables-1]))
	require.Equal(t, job.Internal, job.KindOf(err))
}

// Whatever comes, there is a head whose parts agree, or an error.
func FuzzHead(f *testing.F) {
	f.Add(write(f, book(chapter("One", 7, 8, 9), chapter("Two", 1))))
	f.Add([]byte("\x00\x00\x00\x01moov\x00\x00\x00\x00\x00\x00\x00\x08"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		h, err := m4b.ReadHead(bytes.NewReader(raw))
		if err != nil {
			return
		}
		sum := int64(0)
		for _, n := range h.Sizes {
			sum += int64(n)
		}
		require.Equal(t, sum, h.Bytes)
		require.NotEmpty(t, h.Config)
		require.Positive(t, h.At)
		b, err := m4b.New(m4b.Book{Chapters: []m4b.Chapter{{Head: h}}})
		if err == nil {
			require.NoError(t, b.WriteHead(io.Discard))
		}
	})
}
