package worker

import (
	"cmp"
	"context"
	"log/slog"

	"github.com/voicemill/voicemill/platform/bus"
	"github.com/voicemill/voicemill/platform/ffmpeg"
	"github.com/voicemill/voicemill/worker/internal/encode"
)

// LackingEncoders returns which of the encoders that a worker needs for more than
// WAV a program lacks, by ffmpeg's names.
func LackingEncoders(p *ffmpeg.Program) []string {
	_, lacking := encode.Formats(p)
	return lacking
}

// coder returns what encodes here; nil where ffmpeg or one of its encoders is missing,
// since who takes encodings must be able to do them all.
func (s *service) coder(ctx context.Context, b encode.Blob, tell func(bus.Settled)) *encode.Encoder {
	if s.cfg.Encodings == 0 {
		return nil
	}
	program, err := ffmpeg.Find(ctx, cmp.Or(s.cfg.FFmpeg, "ffmpeg"))
	if err != nil {
		s.log.WarnContext(ctx, "this worker makes WAV only", slog.String("error", err.Error()))
		return nil
	}
	made, lacking := encode.Formats(program)
	if len(lacking) > 0 {
		s.log.WarnContext(ctx, "this worker makes WAV only: ffmpeg lacks encoders", slog.Any("encoders", lacking))
		return nil
	}
	s.formats = made
	return encode.New(encode.Deps{Program: program, Store: s.store, Blob: b, Tell: tell, Log: s.log.With(slog.String("part", "encode"))})
}
