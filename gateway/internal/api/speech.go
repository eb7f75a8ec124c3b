package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/voicemill/voicemill/gateway/internal/playback"
	"github.com/voicemill/voicemill/gateway/internal/transcode"
	"github.com/voicemill/voicemill/gateway/internal/watch"
	"github.com/voicemill/voicemill/job"
	"github.com/voicemill/voicemill/platform/bus"
)

// speechRequest is the body of POST /v1/audio/speech, as OpenAI's API has it.
type speechRequest struct {
	Model          string          `json:"model"`
	Input          string          `json:"input"`
	Voice          json.RawMessage `json:"voice"` // a name, or an object with the member id
	ResponseFormat string          `json:"response_format"`
	Speed          *float64        `json:"speed"`
	Instructions   string          `json:"instructions"`
	StreamFormat   string          `json:"stream_format"`
}

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

// speech is one POST /v1/audio/speech. It is an interactive job whose audio is
// the answer. Until the first segment is rendered it is a waiter in the hub;
// from then on a goroutine of the edge carries it. A client that leaves takes
// the job with it, unless it may come again with its Idempotency-Key.
type speech struct {
	a       *API
	c       *Call
	id      job.ID
	keyed   bool // by an Idempotency-Key
	format  string
	media   string
	speed   float64
	spec    job.Spec
	faults  job.Faults
	until   time.Time // by when the first segment must be there
	player  *playback.Player
	release func() // gives back that somebody waits
	over    atomic.Bool
}

// speak answers with the sound of a text.
func (a *API) speak(c *Call) {
	var r speechRequest
	shape, ok := decode(a, c, a.speeches, &r)
	if !ok {
		return
	}
	s := &speech{a: a, c: c, speed: 1, until: c.Started.Add(a.cfg.MaxWait)}
	if shape.Any() {
		s.refuseShape(shape)
		return
	}
	if err := a.ready(); err != nil {
		a.fail(c, err)
		return
	}
	if err := s.read(&r); err != nil {
		a.fail(c, err)
		return
	}
	if s.faults.Any() {
		s.refuse()
		return
	}
	if !a.admitLoad(c, job.Interactive) || !a.admitText(c, &s.spec) {
		return
	}
	if s.release, ok = a.hold(c); !ok {
		return
	}
	s.release = sync.OnceFunc(s.release)
	s.submit()
}

// refuseShape answers with what is wrong with the types of the members.
func (s *speech) refuseShape(faults job.Faults) {
	s.c.code = codeType
	if strings.Contains(faults.List[0].Detail, "not a known field") {
		s.c.code = codeUnknown
	}
	s.faults = faults
	s.refuse()
}

func (s *speech) refuse() {
	first := s.faults.List[0]
	s.a.refuseWith(s.c, badSpeech, strings.TrimPrefix(strings.TrimPrefix(first.Pointer, "/")+": "+first.Detail+".", ": "), nil, s.faults)
}

// fault notes what is wrong. The code is that of the first fault.
func (s *speech) fault(param, code, format string, args ...any) {
	if !s.faults.Any() {
		s.c.code = code
	}
	s.faults.Add(job.Fault{Pointer: "/" + param, Detail: fmt.Sprintf(format, args...), Kind: job.Invalid})
}

// read makes the job of the request, or finds its faults.
func (s *speech) read(r *speechRequest) error {
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
	if r.Instructions != "" {
		s.fault("instructions", codeUnsupported, "are not supported: the voices here take none")
	}
	if r.StreamFormat != "" && r.StreamFormat != "audio" {
		s.fault("stream_format", codeUnsupported, "%q is not supported; supported: audio", clip(r.StreamFormat))
	}
	s.spec = job.Spec{Input: job.Input{Text: r.Input, Media: job.MediaText}, Class: job.Interactive}
	s.readVoice(r.Voice)
	if r.Speed != nil {
		s.speed = *r.Speed
	}
	if !(s.speed >= 0.25 && s.speed <= 4) { // written so that NaN is refused
		s.fault("speed", codeValue, "must be from 0.25 to 4.0, is %v", s.speed)
	}
	s.spec.Speed = min(max(s.speed, 0.5), 2) // what voices can; ffmpeg does the rest
	if err := s.readFormat(r.ResponseFormat); err != nil {
		return err
	}
	if s.faults.Any() {
		return nil
	}
	s.spec.Normalize()
	for _, f := range slices.Concat(s.spec.Faults(s.a.cfg.Limits).List, s.a.dep.Voices.Faults(&s.spec).List) {
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
func (s *speech) readFormat(name string) error {
	if name == "" {
		name = speechFormats[0].name
	}
	can := []string{"wav", "pcm"}
	tempo := false
	if t := s.a.dep.Transcoder; t != nil {
		made, err := t.Formats(s.c.Context())
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
		s.fault("response_format", codeUnsupported, "%q cannot be made here; available: %s", clip(name), strings.Join(can, ", "))
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

// submit hands the job to the intake, as any other, or goes on with the one that
// the same request has made before.
func (s *speech) submit() {
	a, c := s.a, s.c
	id, at, arrived, ok := a.own(c)
	if !ok {
		s.release()
		return
	}
	s.id, s.keyed = id, c.Header("idempotency-key") != nil
	s.player = playback.New(playback.Config{Store: a.dep.Store, Bucket: a.dep.Bucket, Tenant: c.Identity.Tenant, Job: id})
	if arrived {
		c.OnClose(s.abandon)
		s.look(c.Context())
		return
	}
	payload := encode(&bus.AcceptedJob{
		ID: id, Tenant: c.Identity.Tenant, Spec: s.spec, AcceptedAt: at,
		RequestID: c.RequestID, Traceparent: c.Traceparent, Tracestate: c.Tracestate,
	})
	c.enter(stageCommit)
	if err := a.dep.Intake.Submit(id, payload[:len(payload)-1], func(err error) {
		defer a.rescue(c, func() { s.giveUp(errPanic) })
		s.accepted(err)
	}); err != nil {
		s.giveUp(err)
	}
}

// accepted is called when the job is durable, or is known not to be.
func (s *speech) accepted(err error) {
	if err != nil {
		s.giveUp(err)
		return
	}
	s.c.OnClose(s.abandon)
	s.await()
}

// await leaves the call to the hub until the job has moved on.
func (s *speech) await() {
	a, c := s.a, s.c
	c.enter(stageHold)
	cancel, err := a.dep.Hub.Wait(&watch.Waiter{
		Job: s.id, Tenant: c.Identity.Tenant, Known: s.player.Version(), Until: s.until, Wake: func() { a.off(c, s.look) },
	})
	if err != nil {
		s.giveUp(err)
		return
	}
	c.OnClose(cancel)
}

var errSlow = errors.New("api: the first segment was not rendered in time")

// look begins the answer if the first segment is there.
func (s *speech) look(ctx context.Context) {
	if s.over.Load() {
		return
	}
	first, err := s.player.Ready(ctx)
	switch {
	case err == nil:
		s.begin(first)
	case !errors.Is(err, playback.ErrNotYet):
		s.giveUp(err)
	case !time.Now().Before(s.until):
		s.giveUp(&job.Error{Op: "api.speak", JobID: s.id, Kind: job.Unavailable, Public: "The text could not be spoken in time; try again later.", Err: errSlow})
	default:
		s.player.Rest()
		s.await()
	}
}

// begin leaves the call to a goroutine that answers with the sound.
func (s *speech) begin(first playback.Segment) {
	stream, ok := s.c.Exchange.(Streamable)
	if !ok {
		s.giveUp(&job.Error{Op: "api.speak", Kind: job.Invalid, Public: "Sound is answered over HTTP only."})
		return
	}
	sound, err := s.sound(first)
	if err != nil {
		s.giveUp(err)
		return
	}
	if err := s.a.body(s.c, stream, func() { s.carry(stream, sound) }); err != nil {
		sound.close()
		s.giveUp(err)
	}
}

// carry answers 200; what follows is the sound, as fast as the client takes it.
func (s *speech) carry(stream Streamable, sound *sound) {
	s.a.speaking.Add(1)
	defer s.a.speaking.Add(-1)
	defer s.abandon()
	defer sound.close()
	out := stream.Begin(&Answer{Status: http.StatusOK, ContentType: s.media, Location: "/v1/jobs/" + string(s.id)}, -1)
	if out == nil {
		return
	}
	err := errPanic // unless it gets to its end
	defer func() { out.End(err) }()
	if err = sound.pour(s.c.Context(), out); err == nil {
		s.over.Store(true)
	}
}

// Speaking returns how many speeches are on their way to their clients.
func (a *API) Speaking() int { return int(a.speaking.Load()) }

// giveUp answers that there will be no sound.
func (s *speech) giveUp(err error) {
	s.abandon()
	if s.player != nil {
		s.player.Close()
	}
	if job.KindOf(err) == job.Invalid { // the scheduler found that the text cannot be spoken
		s.fault("input", codeValue, "%s", strings.TrimSuffix(job.PublicOf(err, "cannot be spoken"), "."))
		s.refuse()
		return
	}
	s.a.fail(s.c, err)
}

// abandon ends the job unless it has been spoken whole, because nobody hears it;
// but not one that has a key, which others may ask for or hear already. It may be
// called on an event loop.
func (s *speech) abandon() {
	s.release()
	if s.over.Swap(true) || s.id == "" || s.keyed {
		return
	}
	a, ctx, id := s.a, context.WithoutCancel(s.c.Context()), s.id
	tenant, log := s.c.Identity.Tenant, slog.String("job_id", string(id))
	err := a.dep.Pool.Go(func() {
		defer a.rescue(nil, func() {})
		if err := a.cancel(ctx, tenant, id); err != nil {
			a.dep.Log.LogAttrs(ctx, slog.LevelInfo, "speech that nobody hears not cancelled", log, slog.Any("error", err))
		}
	})
	if err != nil { // then it is rendered for nobody, and its renditions are reused
		a.dep.Log.LogAttrs(ctx, slog.LevelInfo, "speech that nobody hears not cancelled", log, slog.Any("error", err))
	}
}
