package encode

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/ffmpeg"
	"github.com/voicemill/voicemill/worker/internal/m4b"
	"github.com/voicemill/voicemill/worker/internal/store"
)

// bookRate is the sample rate of what is bound to books, in hertz, whatever the
// voices of its chapters have: what shops ask for and every player takes.
const bookRate = 44_100

// mp3Packet is how many samples a frame of MPEG-1's layer III has.
const mp3Packet = 1152

// format is how one of [job.Formats] is made.
type format struct {
	name      string
	encoder   string // ffmpeg's name
	args      []string
	extension string // of a chapter's file
	media     string
	rate      int   // of the file, in hertz; 0: that of the WAV
	packet    int64 // samples of a packet at that rate; 0: its duration is exact
	priming   int64 // samples that the encoder puts before the sound
	inTags    bool  // a cover is one of its tags: it has no streams for it
	fills     bool  // the last packet has to be filled up for it
	oneText   bool  // comment and description are one field
	book      *binding
}

// binding is how the files of chapters become one.
type binding struct {
	extension string
	media     string
	lead      int64 // samples before the sound of the first chapter that a player does not leave out
	lay       func(context.Context, *work, []store.EncodedChapter, []mark) (*bound, error)
}

// formats are all but WAV, in the order of [job.Formats].
//
//nolint:gochecknoglobals // a table
var formats = []format{
	{
		// ffmpeg's own encoder has one packet of 1,024 samples before the sound, which the edit list leaves out.
		// It loses a last packet of less than about 50 samples.
		name: job.FormatM4B, encoder: "aac", args: []string{"-b:a", "64k", "-movflags", "+faststart", "-f", "ipod"},
		extension: "m4a", media: "audio/mp4", rate: bookRate, packet: m4b.Packet, priming: m4b.Packet, fills: true,
		book: &binding{
			extension: "m4b", media: "audio/mp4",
			lay: layM4B,
		},
	},
	{
		// LAME puts 576 samples before the sound and a decoder 529. The book has no
		// header that would say so: every player plays them, and every mark counts them.
		name: job.FormatMP3, encoder: "libmp3lame", args: []string{"-b:a", "96k", "-id3v2_version", "4", "-f", "mp3"},
		extension: "mp3", media: "audio/mpeg", rate: bookRate, packet: mp3Packet, priming: 576 + 529,
		book: &binding{
			extension: "mp3", media: "audio/mpeg",
			lay:  layMP3,
			lead: 576 + 529,
		},
	},
	{
		name: job.FormatOpus, encoder: "libopus", args: []string{"-b:a", "32k", "-application", "voip", "-f", "ogg"},
		extension: "opus", media: "audio/ogg", rate: opusRate, packet: opusPacket, priming: 312, inTags: true, oneText: true,
		book: &binding{extension: "opus", media: "audio/ogg", lay: layOpus},
	},
	// Not bound: each of FLAC's frames has its number in it, and the last one of a chapter is shorter than a stream may have.
	{name: job.FormatFLAC, encoder: "flac", args: []string{"-f", "flac"}, extension: "flac", media: "audio/flac", oneText: true},
}

// Formats returns what a program can make of [job.Formats], WAV left out, and which
// encoders it lacks.
func Formats(p *ffmpeg.Program) (made, lacking []string) {
	for _, f := range formats {
		if p.Encodes(f.encoder) {
			made = append(made, f.name)
		} else {
			lacking = append(lacking, f.encoder)
		}
	}
	return made, lacking
}

// wanted returns how what a job asks for is made.
func wanted(out job.Output) []format {
	return slices.DeleteFunc(slices.Clone(formats), func(f format) bool { return !slices.Contains(out.Formats, f.name) })
}

// wantedSamples is how many samples of sound there are at the rate of the file, of so many at rate.
func wantedSamples(samples int64, rate, to int) int64 {
	return int64(math.Ceil(float64(samples) * float64(to) / float64(rate)))
}

// filter brings so many samples at rate to the rate of the file.
func (f *format) filter(samples int64, rate int) string {
	resample := fmt.Sprintf("aresample=%d", f.rate)
	if !f.fills {
		return resample
	}
	packets := (wantedSamples(samples, rate, f.rate) + f.packet - 1) / f.packet
	return fmt.Sprintf("%s,apad=whole_len=%d", resample, packets*f.packet)
}

// coded returns how many samples are in the packets of a file, and an error unless
// they hold so many samples of sound at the rate of the WAV.
func (f *format) coded(a ffmpeg.Audio, samples int64, rate int) (int64, error) {
	want := wantedSamples(samples, rate, a.SampleRate)
	if f.packet == 0 {
		if got := int64(math.Round(a.Duration * float64(a.SampleRate))); a.SampleRate != rate || got != want {
			return 0, fmt.Errorf("%d samples at %d Hz; want %d at %d", got, a.SampleRate, want, rate)
		}
		return want, nil
	}
	coded := a.Packets * f.packet
	if sound := coded - f.priming; a.SampleRate != f.rate || sound < want-1 || sound > want+2*f.packet {
		return 0, fmt.Errorf("%d packets at %d Hz; want %d samples at %d", a.Packets, a.SampleRate, want, f.rate)
	}
	return coded, nil
}
