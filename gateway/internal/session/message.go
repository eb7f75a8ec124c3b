package session

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"google.golang.org/protobuf/proto"

	"github.com/voicemill/voicemill/api/jobdoc"
	"github.com/voicemill/voicemill/api/jobproto"
	"github.com/voicemill/voicemill/api/voicemillv1"
	"github.com/voicemill/voicemill/gateway/internal/frame"
	"github.com/voicemill/voicemill/gateway/internal/problem"
	"github.com/voicemill/voicemill/job"
)

// The subprotocols of WebSocket.
const (
	SubprotocolJSON  = "voicemill.v1.json"
	SubprotocolProto = "voicemill.v1.proto"
)

// request is one message of a client's, however it was spelt. Exactly one
// member beside Stream is set.
type request struct {
	Stream uint32         `json:"stream"`
	Hello  *helloRequest  `json:"hello"`
	Submit *submitRequest `json:"submit"`
	Get    *getRequest    `json:"get"`
	Watch  *watchRequest  `json:"watch"`
	Cancel *cancelRequest `json:"cancel"`
	Ping   *beat          `json:"ping"`
	Pong   *beat          `json:"pong"`
	Window *windowRequest `json:"window"`

	bytes int // of the message, for the access log
}

type helloRequest struct {
	Authorization string `json:"authorization"`
	Agent         string `json:"agent"`
	Window        uint32 `json:"window"`
}

type submitRequest struct {
	Spec           json.RawMessage `json:"spec"`
	IdempotencyKey string          `json:"idempotency_key"`
	Traceparent    string          `json:"traceparent"`
	Tracestate     string          `json:"tracestate"`
	RequestID      string          `json:"request_id"`

	spec *job.Spec // of a frame; then Spec is nil
}

type getRequest struct {
	ID           string `json:"id"`
	WaitSeconds  uint32 `json:"wait_seconds"`
	AfterVersion uint64 `json:"after_version"`
}

type watchRequest struct {
	ID           string `json:"id"`
	AfterVersion uint64 `json:"after_version"`
	Audio        bool   `json:"audio"`
	FromSegment  uint32 `json:"from_segment"`
}

type cancelRequest struct {
	ID string `json:"id"`
}

type windowRequest struct {
	Bytes uint32 `json:"bytes"`
}

// beat is a ping or a pong.
type beat struct {
	Data string `json:"data,omitempty"`
}

const maxBeat = 125

// reply is one message to a client. Exactly one member beside Stream is set.
type reply struct {
	Stream   uint32           `json:"stream"`
	Hello    *helloReply      `json:"hello,omitempty"`
	Accepted *acceptedReply   `json:"accepted,omitempty"`
	Job      *jobdoc.Document `json:"job,omitempty"`
	Event    *jobdoc.Event    `json:"event,omitempty"`
	Audio    *audioReply      `json:"audio,omitempty"`
	Problem  *problemReply    `json:"problem,omitempty"`
	Ping     *beat            `json:"ping,omitempty"`
	Pong     *beat            `json:"pong,omitempty"`
}

type helloReply struct {
	Agent      string `json:"agent"`
	MaxFrame   uint32 `json:"max_frame"`
	MaxStreams uint32 `json:"max_streams"`
}

type acceptedReply struct {
	Job       *jobdoc.Document `json:"job"`
	RequestID string           `json:"request_id"`
}

// audioReply is a piece of sound; the samples lie in memory of others.
type audioReply struct {
	Segment    int    `json:"segment"`
	Chapter    int    `json:"chapter"`
	SampleRate int    `json:"sample_rate"`
	PCM        []byte `json:"pcm"` // base64
	Last       bool   `json:"last,omitempty"`
}

type problemReply struct {
	*problem.Document
	RetryAfterSeconds uint32 `json:"retry_after_seconds,omitempty"`
}

var (
	errNotOneBody = errors.New("a message has a stream and one more member")
	errNotJSON    = errors.New("the message is not the JSON of a frame")
)

// parseJSON reads a message of the subprotocol voicemill.v1.json.
func parseJSON(b []byte) (*request, error) {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	var r request
	if err := d.Decode(&r); err != nil {
		return nil, fmt.Errorf("%w: %w", errNotJSON, err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%w: something follows it", errNotJSON)
	}
	bodies := 0
	for _, set := range []bool{
		r.Hello != nil, r.Submit != nil, r.Get != nil, r.Watch != nil, r.Cancel != nil, r.Ping != nil, r.Pong != nil, r.Window != nil,
	} {
		if set {
			bodies++
		}
	}
	if bodies != 1 {
		return nil, errNotOneBody
	}
	return &r, nil
}

// parseProto reads a frame without its length.
func parseProto(b []byte) (*request, error) {
	var f voicemillv1.Frame
	if err := frame.Unmarshal(&f, b); err != nil {
		return nil, err
	}
	r := &request{Stream: f.GetStream()}
	switch m := f.GetBody().(type) {
	case *voicemillv1.Frame_Hello:
		r.Hello = &helloRequest{Authorization: m.Hello.GetAuthorization(), Agent: m.Hello.GetAgent(), Window: m.Hello.GetWindow()}
	case *voicemillv1.Frame_Submit:
		spec := jobproto.Spec(m.Submit.GetSpec())
		r.Submit = &submitRequest{
			spec: &spec, IdempotencyKey: m.Submit.GetIdempotencyKey(), RequestID: m.Submit.GetRequestId(),
			Traceparent: m.Submit.GetTraceparent(), Tracestate: m.Submit.GetTracestate(),
		}
	case *voicemillv1.Frame_Get:
		r.Get = &getRequest{ID: m.Get.GetId(), WaitSeconds: m.Get.GetWaitSeconds(), AfterVersion: m.Get.GetAfterVersion()}
	case *voicemillv1.Frame_Watch:
		r.Watch = &watchRequest{ID: m.Watch.GetId(), AfterVersion: m.Watch.GetAfterVersion(), Audio: m.Watch.GetAudio(), FromSegment: m.Watch.GetFromSegment()}
	case *voicemillv1.Frame_Cancel:
		r.Cancel = &cancelRequest{ID: m.Cancel.GetId()}
	case *voicemillv1.Frame_Ping:
		r.Ping = &beat{Data: string(m.Ping.GetData())}
	case *voicemillv1.Frame_Pong:
		r.Pong = &beat{Data: string(m.Pong.GetData())}
	case *voicemillv1.Frame_Window:
		r.Window = &windowRequest{Bytes: m.Window.GetBytes()}
	default:
		return nil, errors.New("only a server sends such a frame")
	}
	return r, nil
}

// asJSON spells the reply for the subprotocol voicemill.v1.json.
func (r *reply) asJSON() ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(r); err != nil {
		return nil, fmt.Errorf("encode a message: %w", err)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// asProto spells the reply as a frame without its length.
func (r *reply) asProto() ([]byte, error) {
	b, err := proto.Marshal(r.frame())
	if err != nil {
		return nil, fmt.Errorf("encode a frame: %w", err)
	}
	return b, nil
}

func (r *reply) frame() *voicemillv1.Frame {
	f := &voicemillv1.Frame{Stream: r.Stream}
	switch {
	case r.Hello != nil:
		f.Body = &voicemillv1.Frame_Hello{Hello: &voicemillv1.Hello{Agent: r.Hello.Agent, MaxFrame: r.Hello.MaxFrame, MaxStreams: r.Hello.MaxStreams}}
	case r.Accepted != nil:
		f.Body = &voicemillv1.Frame_Accepted{Accepted: &voicemillv1.Accepted{Job: jobproto.FromDocument(r.Accepted.Job), RequestId: r.Accepted.RequestID}}
	case r.Job != nil:
		f.Body = &voicemillv1.Frame_Job{Job: jobproto.FromDocument(r.Job)}
	case r.Event != nil:
		f.Body = &voicemillv1.Frame_Event{Event: jobproto.FromEvent(r.Event)}
	case r.Audio != nil:
		a := r.Audio
		f.Body = &voicemillv1.Frame_Audio{Audio: &voicemillv1.Audio{
			Segment: uint32(a.Segment), Chapter: uint32(a.Chapter), SampleRate: uint32(a.SampleRate), Pcm: a.PCM, Last: a.Last, //nolint:gosec // none is negative
		}}
	case r.Problem != nil:
		f.Body = &voicemillv1.Frame_Problem{Problem: r.Problem.message()}
	case r.Ping != nil:
		f.Body = &voicemillv1.Frame_Ping{Ping: &voicemillv1.Ping{Data: []byte(r.Ping.Data)}}
	case r.Pong != nil:
		f.Body = &voicemillv1.Frame_Pong{Pong: &voicemillv1.Pong{Data: []byte(r.Pong.Data)}}
	}
	return f
}

func (p *problemReply) message() *voicemillv1.Problem {
	m := &voicemillv1.Problem{
		Status: uint32(p.Status), Type: p.Type, Title: p.Title, Detail: p.Detail, RequestId: p.RequestID, RetryAfterSeconds: p.RetryAfterSeconds, //nolint:gosec // an HTTP status
	}
	m.MoreErrors = uint32(p.More) //nolint:gosec // as many as a message of a megabyte has
	for _, f := range p.Errors {
		m.Errors = append(m.Errors, &voicemillv1.Problem_Fault{Pointer: f.Pointer, Detail: f.Detail})
	}
	return m
}
