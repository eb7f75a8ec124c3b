package operation

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/voicemill/voicemill/gateway/internal/problem"
	"github.com/voicemill/voicemill/gateway/internal/transcode"
	"github.com/voicemill/voicemill/job"
)

// maxSpeech is the length of a text in characters, as in OpenAI's API: the lane
// of interactive jobs is for short ones. Longer texts are jobs.
const maxSpeech = 4096

// speechFormats are the values of response_format and their media types, the
// default first.
//
//nolint:gochecknoglobals // a table
var speechFormats = []struct{ name, media string }{
	{"mp3", "audio/mpeg"}, {"opus", "audio/ogg"}, {"aac", "audio/aac"}, {"flac", "audio/flac"}, {"wav", "audio/wav"}, {"pcm", "audio/pcm"},
}

// Codes of OpenAI's API for what is wrong with a request.
const (
	codeMissing     = "missing_required_parameter"
	codeUnknown     = "unknown_parameter"
	codeType        = "invalid_type"
	codeValue       = "invalid_value"
	codeUnsupported = "unsupported_value"
	codeLong        = "string_above_max_length"
)

// refuseShape refuses for what is wrong with the types of the members.
func refuseShape(faults job.Faults) error {
	s := speech{faults: faults, code: codeType}
	if strings.Contains(faults.List[0].Detail, "not a known field") {
		s.code = codeUnknown
	}
	return s.refusal()
}

func (s *speech) refusal() error {
	first := s.faults.List[0]
	return &problem.Error{
		Slug: problem.BadSpeech, Faults: s.faults, Code: s.code,
		Detail: strings.TrimPrefix(strings.TrimPrefix(first.Pointer, "/")+": "+first.Detail+".", ": "),
	}
}

// fault notes what is wrong. The code is that of the first fault.
func (s *speech) fault(param, code, format string, args ...any) {
	if !s.faults.Any() {
		s.code = code
	}
	s.faults.Add(job.Fault{Pointer: "/" + param, Detail: fmt.Sprintf(format, args...), Kind: job.Invalid})
}

// read makes the job of the request, or finds its faults.
func (s *speech) read(ctx context.Context, r *SpeechRequest) error {
	for _, m := range []struct {
		param string
		given bool
	}{{"model", r.Model != ""}, {"input", r.Input != ""}, {"voice", len(r.Voice) > 0}} {
		if !m.given {
			s.fault(m.param, codeMissing, "is missing")
		}
	}
	if n := utf8.RuneCountInString(r.Input); n > maxSpeech {
		s.fault("input", codeLong, "has %d characters; at most %d, longer texts are jobs: POST /v1/jobs", n, maxSpeech)
	}
	if r.StreamFormat != "" && r.StreamFormat != "audio" {
		s.fault("stream_format", codeUnsupported, "%q is not supported; supported: audio", problem.Clip(r.StreamFormat))
	}
	s.spec = job.Spec{Input: job.Input{Text: r.Input, Media: job.MediaText}, Class: job.Interactive, Instructions: r.Instructions}
	s.readVoice(r.Voice)
	if r.Speed != nil {
		s.speed = *r.Speed
	}
	if !(s.speed >= 0.25 && s.speed <= 4) { // written so that NaN is refused
		s.fault("speed", codeValue, "must be from 0.25 to 4.0, is %v", s.speed)
	}
	s.spec.Speed = min(max(s.speed, 0.5), 2) // what voices can; ffmpeg does the rest
	if err := s.readFormat(ctx, r.ResponseFormat); err != nil {
		return err
	}
	if s.faults.Any() {
		return nil
	}
	s.spec.Normalize()
	for _, f := range slices.Concat(s.spec.Faults(s.o.cfg.Limits).List, s.o.dep.Voices.Faults(&s.spec).List) {
		s.fault(strings.TrimPrefix(strings.TrimSuffix(f.Pointer, "/text"), "/"), codeValue, "%s", f.Detail)
	}
	return nil
}

func (s *speech) readVoice(raw json.RawMessage) {
	if len(raw) == 0 || json.Unmarshal(raw, &s.spec.Voice) == nil && s.spec.Voice != "" {
		return
	}
	var v struct {
		ID string `json:"id"`
	}
	if json.Unmarshal(raw, &v) != nil || v.ID == "" {
		s.fault("voice", codeType, "must be a name from GET /v1/voices, or an object with it as id")
	}
	s.spec.Voice = v.ID
}

// readFormat finds out whether the answer can be made here.
func (s *speech) readFormat(ctx context.Context, name string) error {
	if name == "" {
		name = speechFormats[0].name
	}
	can := []string{"wav", "pcm"}
	tempo := false
	if t := s.o.dep.Transcoder; t != nil {
		made, err := t.Formats(ctx)
		if err != nil {
			return err
		}
		tempo = slices.Contains(made, transcode.PCM)
		for _, f := range made {
			if f != transcode.PCM {
				can = append(can, string(f))
			}
		}
	}
	slices.Sort(can)
	if !slices.Contains(can, name) {
		s.fault("response_format", codeUnsupported, "%q cannot be made here; available: %s", problem.Clip(name), strings.Join(can, ", "))
		return nil
	}
	if !tempo && s.spec.Speed != s.speed {
		s.fault("speed", codeUnsupported, "must be from 0.5 to 2.0 here, is %v", s.speed)
	}
	s.format = name
	for _, f := range speechFormats {
		if f.name == name {
			s.media = f.media
		}
	}
	return nil
}
