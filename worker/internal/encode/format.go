package encode

import (
	"fmt"
	"math"
	"slices"

	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/ffmpeg"
)

// bookRate is the sample rate of what is bound to books, in hertz, whatever the
// voices of its chapters have: what shops ask for and every player takes.
const bookRate = 44_100

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
	book      *binding
}

// binding is how the files of chapters become one.
type binding struct {
	extension string
	media     string
	raw       []string // makes a chapter's packets of its file, to be put one behind the other
	input     []string // how those are read
	output    []string
	lead      int64 // samples before the sound of the first chapter that a player does not leave out
}

// formats are all but WAV, in the order of [job.Formats].
//
//nolint:gochecknoglobals // a table
var formats = []format{
	{
		// ffmpeg's own encoder has one packet of 1,024 samples before the sound, which the edit list leaves out.
		name: job.FormatM4B, encoder: "aac", args: []string{"-b:a", "64k", "-movflags", "+faststart", "-f", "ipod"},
		extension: "m4a", media: "audio/mp4", rate: bookRate, packet: 1024, priming: 1024,
		book: &binding{
			extension: "m4b", media: "audio/mp4",
			raw:    []string{"-f", "mp4", "-i", "pipe:0", "-c", "copy", "-f", "adts", "pipe:1"},
			input:  []string{"-itsoffset", fmt.Sprintf("-%.6f", 1024.0/bookRate), "-f", "aac", "-i", "pipe:0"},
			output: []string{"-bsf:a", "aac_adtstoasc", "-avoid_negative_ts", "disabled", "-movflags", "+faststart", "-f", "ipod"},
		},
	},
	{
		// LAME puts 576 samples before the sound and a decoder 529. The book has no
		// header that would say so: every player plays them, and every mark counts them.
		name: job.FormatMP3, encoder: "libmp3lame", args: []string{"-b:a", "96k", "-id3v2_version", "4", "-f", "mp3"},
		extension: "mp3", media: "audio/mpeg", rate: bookRate, packet: 1152, priming: 576 + 529,
		book: &binding{
			extension: "mp3", media: "audio/mpeg",
			raw:    []string{"-f", "mp3", "-i", "pipe:0", "-c", "copy", "-id3v2_version", "0", "-write_xing", "0", "-f", "mp3", "pipe:1"},
			input:  []string{"-f", "mp3", "-i", "pipe:0"},
			output: []string{"-id3v2_version", "4", "-write_xing", "0", "-f", "mp3"},
			lead:   576 + 529,
		},
	},
	{
		name: job.FormatOpus, encoder: "libopus", args: []string{"-b:a", "32k", "-application", "voip", "-f", "ogg"},
		extension: "opus", media: "audio/ogg", rate: 48_000, packet: 960, priming: 312,
	},
	{name: job.FormatFLAC, encoder: "flac", args: []string{"-f", "flac"}, extension: "flac", media: "audio/flac"},
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

// coded returns how many samples are in the packets of a file, and an error unless
// they hold so many samples of sound at the rate of the WAV.
func (f *format) coded(a ffmpeg.Audio, samples int64, rate int) (int64, error) {
	want := int64(math.Ceil(float64(samples) * float64(a.SampleRate) / float64(rate)))
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
