package subtitle

import (
	"bufio"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/voicemill/voicemill/job"
)

// MediaType returns the media type of files in a format, one of [job.Subtitles].
func MediaType(format string) string {
	switch format {
	case job.SubtitlesVTT:
		return "text/vtt"
	case job.SubtitlesSRT:
		return "application/x-subrip"
	default:
		return "text/x-ssa"
	}
}

// Writer writes cues in one format. Errors of the file below come out at [Writer.Close] at the latest.
type Writer struct {
	w      *bufio.Writer
	format string
	n      int
}

// NewWriter begins a file in a format, one of [job.Subtitles]. Only ASS tells the title.
func NewWriter(w io.Writer, format, title string) *Writer {
	out := &Writer{w: bufio.NewWriter(w), format: format}
	switch format {
	case job.SubtitlesVTT:
		_, _ = out.w.WriteString("WEBVTT\n") // a bufio.Writer keeps its error
	case job.SubtitlesASS:
		_, _ = fmt.Fprintf(out.w, assHead, strings.Join(strings.Fields(title), " "))
	}
	return out
}

// Cue writes one cue; they come in order.
func (w *Writer) Cue(c Cue) error {
	w.n++
	switch w.format {
	case job.SubtitlesVTT:
		return w.vtt(c)
	case job.SubtitlesSRT:
		return w.srt(c)
	default:
		return w.ass(c)
	}
}

// Close ends the file; the one below stays open.
func (w *Writer) Close() error { return w.w.Flush() }

// vtt writes a cue with a timestamp before each word but the first. Those must
// increase and lie within the cue, to the millisecond.
func (w *Writer) vtt(c Cue) error {
	var text strings.Builder
	start, end := millis(c.Start), millis(c.End)
	last := start
	for i, line := range c.Lines {
		if i > 0 {
			text.WriteByte('\n')
		}
		for _, word := range line {
			if at := millis(word.Start); at > last && at < end {
				fmt.Fprintf(&text, "<%s>", Clock(at, '.'))
				last = at
			}
			text.WriteString(vttText.Replace(word.Text))
		}
	}
	_, err := fmt.Fprintf(w.w, "\n%s --> %s\n%s\n", Clock(start, '.'), Clock(max(end, start+time.Millisecond), '.'), text.String())
	return err
}

func (w *Writer) srt(c Cue) error {
	var text strings.Builder
	for _, line := range c.Lines {
		for _, word := range line {
			text.WriteString(word.Text)
		}
		text.WriteByte('\n')
	}
	start := millis(c.Start)
	_, err := fmt.Fprintf(w.w, "%d\n%s --> %s\n%s\n", w.n, Clock(start, ','), Clock(max(millis(c.End), start+time.Millisecond), ','), srtText.Replace(text.String()))
	return err
}

// ass writes a cue whose words are timed by \k, in hundredths of a second. Each
// is the difference of two rounded times, so that their sum does not drift.
func (w *Writer) ass(c Cue) error {
	var text strings.Builder
	starts := c.words()
	at := centis(c.Start)
	for i, n := 0, 0; i < len(c.Lines); i++ {
		if i > 0 {
			text.WriteString(`\N`)
		}
		for _, word := range c.Lines[i] {
			n++
			next := centis(c.End)
			if n < len(starts) {
				next = centis(starts[n].Start)
			}
			fmt.Fprintf(&text, `{\k%d}%s`, next-at, assText.Replace(word.Text))
			at = next
		}
	}
	_, err := fmt.Fprintf(w.w, "Dialogue: 0,%s,%s,Default,,0,0,0,,%s\n", assClock(centis(c.Start)), assClock(max(centis(c.End), centis(c.Start)+1)), text.String())
	return err
}

func millis(t time.Duration) time.Duration { return t.Round(time.Millisecond) }
func centis(t time.Duration) int64 {
	return int64(t.Round(10*time.Millisecond) / (10 * time.Millisecond))
}

// Clock writes a time as hours, minutes, seconds and, behind point, milliseconds, to which it
// is rounded: as SRT, WebVTT and the chapters of Vorbis comments have it. It has two digits
// of hours, or as many as it takes.
func Clock(at time.Duration, point rune) string {
	ms := millis(at).Milliseconds()
	return fmt.Sprintf("%02d:%02d:%02d%c%03d", ms/3_600_000, ms/60_000%60, ms/1000%60, point, ms%1000)
}

func assClock(cs int64) string {
	return fmt.Sprintf("%d:%02d:%02d.%02d", cs/360_000, cs/6000%60, cs/100%60, cs%100)
}

// What would be markup in each format. SRT has no escapes, and ASS none for a
// backslash: there a word joiner, which nobody sees, stands behind what would begin some.
var (
	vttText = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;")             //nolint:gochecknoglobals // a table
	srtText = strings.NewReplacer("<", "<\u2060", "{", "{\u2060", "-->", "--\u2060>") //nolint:gochecknoglobals // a table
	assText = strings.NewReplacer(`\`, "\\\u2060", "{", `\{`, "}", `\}`)              //nolint:gochecknoglobals // a table
)

// assHead has one style for all: white letters that turn yellow when they sound.
const assHead = `[Script Info]
Title: %s
ScriptType: v4.00+
WrapStyle: 2
ScaledBorderAndShadow: yes
PlayResX: 1920
PlayResY: 1080

[V4+ Styles]
Format: Name, Fontname, Fontsize, PrimaryColour, SecondaryColour, OutlineColour, BackColour, Bold, Italic, Underline, StrikeOut, ScaleX, ScaleY, Spacing, Angle, BorderStyle, Outline, Shadow, Alignment, MarginL, MarginR, MarginV, Encoding
Style: Default,Arial,64,&H0000D7FF,&H00FFFFFF,&H00000000,&H80000000,0,0,0,0,100,100,0,0,1,3,1,2,120,120,80,1

[Events]
Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text
`
