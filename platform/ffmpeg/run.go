package ffmpeg

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
)

// Run runs the program to its end: in is its standard input, out takes its
// standard output; both may be nil. An error of in or out comes before what it
// makes of the program. What was written before an error is not whole.
func (p *Program) Run(ctx context.Context, in io.Reader, out io.Writer, args ...string) error {
	said := &tail{}
	cmd := command(ctx, p.Path, append([]string{"-hide_banner", "-loglevel", "error", "-y"}, args...)...)
	source := &source{r: in}
	if in != nil {
		cmd.Stdin = source
	}
	cmd.Stdout, cmd.Stderr = out, said
	err := cmd.Run()
	if source.err != nil {
		return source.err
	}
	if err != nil {
		return fmt.Errorf("ffmpeg: %w: %s", errors.Join(err, context.Cause(ctx)), said)
	}
	return nil
}

// source remembers an error of the reader: the program sees only an early end.
type source struct {
	r   io.Reader
	err error // read after the command has ended
}

func (s *source) Read(b []byte) (int, error) {
	n, err := s.r.Read(b)
	if err != nil && !errors.Is(err, io.EOF) {
		s.err = err
	}
	return n, err
}

// Audio is what the first audio stream of a file holds.
type Audio struct {
	Codec      string
	SampleRate int
	Packets    int64 // counted, not what a header says
	Duration   float64
}

// Measure reads a file to its end and tells what is in it.
func (p *Program) Measure(ctx context.Context, path string) (Audio, error) {
	raw, err := command(ctx, p.prober(), "-v", "error", "-count_packets", "-select_streams", "a:0",
		"-show_entries", "stream=codec_name,sample_rate,nb_read_packets,duration", "-of", "json", path).Output()
	if err != nil {
		return Audio{}, fmt.Errorf("measure %s: %w", path, errors.Join(err, context.Cause(ctx)))
	}
	a, err := audio(raw)
	if err != nil {
		return Audio{}, fmt.Errorf("measure %s: %w", path, err)
	}
	return a, nil
}

// audio reads ffprobe's answer.
func audio(raw []byte) (Audio, error) {
	var said struct {
		Streams []struct {
			Codec    string `json:"codec_name"`
			Rate     string `json:"sample_rate"`
			Packets  string `json:"nb_read_packets"`
			Duration string `json:"duration"`
		} `json:"streams"`
	}
	if err := json.Unmarshal(raw, &said); err != nil {
		return Audio{}, err
	}
	if len(said.Streams) != 1 {
		return Audio{}, fmt.Errorf("%d audio streams; want 1", len(said.Streams))
	}
	s := said.Streams[0]
	rate, rateErr := strconv.Atoi(s.Rate)
	packets, packetsErr := strconv.ParseInt(s.Packets, 10, 64)
	seconds, secondsErr := strconv.ParseFloat(s.Duration, 64)
	return Audio{Codec: s.Codec, SampleRate: rate, Packets: packets, Duration: seconds}, errors.Join(rateErr, packetsErr, secondsErr)
}
