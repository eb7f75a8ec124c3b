package triton

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/voicemill/voicemill/api/kserve"
	"github.com/voicemill/voicemill/platform/wav"
)

// testRate is a tenth of the model's: nobody listens, and the race detector looks at every sample.
const testRate = 2400

// server speaks the wire of Triton with one model and fails as the first word of a
// text asks.
type server struct {
	*grpc.Server
	listener net.Listener

	mu        sync.Mutex
	decoupled bool                                // guarded by mu
	maxBatch  int32                               // guarded by mu; 0: no dimension for the batch
	sizes     bool                                // guarded by mu; the model has the output waveform_len
	fault     string                              // guarded by mu; for every text, instead of its first word
	gone      bool                                // guarded by mu; the model is not loaded
	change    func(*kserve.ModelMetadataResponse) // guarded by mu
	requests  []*kserve.ModelInferRequest         // guarded by mu
	inFlight  int                                 // guarded by mu
	conns     []net.Conn                          // guarded by mu
}

// Accept keeps the connection for those who want to break it.
func (s *server) Accept() (net.Conn, error) {
	c, err := s.listener.Accept()
	if err == nil {
		s.set(func() { s.conns = append(s.conns, c) })
	}
	return c, err //nolint:wrapcheck // of the listener
}

func (s *server) Close() error   { return s.listener.Close() }
func (s *server) Addr() net.Addr { return s.listener.Addr() }

func serve(t *testing.T, setup ...func(*server)) *server {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	return serveOn(t, l, setup...)
}

func serveOn(t *testing.T, l net.Listener, setup ...func(*server)) *server {
	t.Helper()
	s := &server{listener: l, maxBatch: 1, Server: grpc.NewServer(grpc.MaxRecvMsgSize(64 << 20))}
	for _, change := range setup {
		change(s)
	}
	s.RegisterService(&grpc.ServiceDesc{
		ServiceName: kserve.Service, HandlerType: (*any)(nil),
		Methods: []grpc.MethodDesc{
			unary("ModelReady", s.ready), unary("ModelMetadata", s.metadata), unary("ModelConfig", s.config), unary("ModelInfer", s.infer),
		},
		Streams: []grpc.StreamDesc{{StreamName: "ModelStreamInfer", ServerStreams: true, ClientStreams: true, Handler: func(_ any, stream grpc.ServerStream) error { return s.stream(stream) }}},
	}, s)
	var wg sync.WaitGroup
	wg.Go(func() { _ = s.Serve(s) }) // ends with Stop
	t.Cleanup(wg.Wait)
	t.Cleanup(s.Stop)
	return s
}

func unary[Q, A any](name string, answer func(context.Context, *Q) (*A, error)) grpc.MethodDesc {
	return grpc.MethodDesc{MethodName: name, Handler: func(_ any, ctx context.Context, read func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
		q := new(Q)
		if err := read(q); err != nil {
			return nil, err
		}
		return answer(ctx, q)
	}}
}

func (s *server) set(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

func (s *server) address() string { return s.listener.Addr().String() }

func (s *server) seen() []*kserve.ModelInferRequest {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]*kserve.ModelInferRequest(nil), s.requests...)
}

func unknown(name string) error {
	return status.Errorf(codes.NotFound, "Request for unknown model: '%s' is not found", name)
}

func (s *server) ready(_ context.Context, q *kserve.ModelReadyRequest) (*kserve.ModelReadyResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return &kserve.ModelReadyResponse{Ready: q.GetName() == defaultModel && !s.gone}, nil
}

func (s *server) metadata(_ context.Context, q *kserve.ModelMetadataRequest) (*kserve.ModelMetadataResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if q.GetName() != defaultModel {
		return nil, unknown(q.GetName())
	}
	if s.gone {
		return nil, status.Error(codes.Unavailable, "Request for unknown model: 'cosyvoice3' has no available versions")
	}
	tensor := func(name, datatype string, dims ...int64) *kserve.ModelMetadataResponse_TensorMetadata {
		if s.maxBatch > 0 {
			dims = append([]int64{-1}, dims...)
		}
		return &kserve.ModelMetadataResponse_TensorMetadata{Name: name, Datatype: datatype, Shape: dims}
	}
	m := &kserve.ModelMetadataResponse{
		Name: defaultModel, Platform: "python",
		Inputs: []*kserve.ModelMetadataResponse_TensorMetadata{
			tensor("reference_wav", "FP32", -1), tensor("reference_wav_len", "INT32", 1), tensor("reference_text", "BYTES", 1), tensor("target_text", "BYTES", 1),
		},
		Outputs: []*kserve.ModelMetadataResponse_TensorMetadata{tensor("waveform", "FP32", -1)},
	}
	if s.sizes {
		m.Outputs = append(m.Outputs, tensor("waveform_len", "INT32", 1))
	}
	if s.change != nil {
		s.change(m)
	}
	return m, nil
}

func (s *server) config(_ context.Context, _ *kserve.ModelConfigRequest) (*kserve.ModelConfigResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return &kserve.ModelConfigResponse{Config: &kserve.ModelConfig{
		Name: defaultModel, MaxBatchSize: s.maxBatch, ModelTransactionPolicy: &kserve.ModelTransactionPolicy{Decoupled: s.decoupled},
	}}, nil
}

// begin checks a request as Triton does and returns its texts.
func (s *server) begin(q *kserve.ModelInferRequest, stream bool) (texts []string, end func(), err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case q.GetModelName() != defaultModel:
		return nil, nil, unknown(q.GetModelName())
	case s.gone:
		return nil, nil, status.Error(codes.Unavailable, "Server is stopping, no longer accepting requests")
	case s.decoupled && !stream:
		return nil, nil, status.Error(codes.Unimplemented, "ModelInfer RPC doesn't support models with decoupled transaction policy")
	case len(q.GetRawInputContents()) != len(q.GetInputs()):
		return nil, nil, status.Error(codes.InvalidArgument, "expected tensor data for all inputs")
	}
	s.requests = append(s.requests, q)
	raw := map[string][]byte{}
	for i, in := range q.GetInputs() {
		if dims := len(in.GetShape()); (dims == 2) != (s.maxBatch > 0) || dims == 2 && in.GetShape()[0] > int64(s.maxBatch) {
			return nil, nil, status.Errorf(codes.InvalidArgument, "unexpected shape for input '%s'", in.GetName())
		}
		raw[in.GetName()] = q.GetRawInputContents()[i]
	}
	for b := raw["target_text"]; len(b) > 0; {
		n := binary.LittleEndian.Uint32(b)
		texts, b = append(texts, string(b[4:4+n])), b[4+n:]
	}
	s.inFlight++
	return texts, func() { s.set(func() { s.inFlight-- }) }, nil
}

// speech is a tone as long as the text is.
func speech(text string) []float32 {
	samples := make([]float32, int((0.2+float64(utf8.RuneCountInString(text))/15)*testRate))
	for i := range samples {
		samples[i] = float32(.25 * math.Sin(2*math.Pi*float64(i%120)/120))
	}
	return samples
}

func floats(samples []float32) (raw []byte) {
	for _, x := range samples {
		raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(x))
	}
	return raw
}

func answerOf(q *kserve.ModelInferRequest, shape []int64, samples []float32) *kserve.ModelInferResponse {
	return &kserve.ModelInferResponse{
		ModelName: q.GetModelName(), Id: q.GetId(),
		Outputs:           []*kserve.ModelInferResponse_InferOutputTensor{{Name: "waveform", Datatype: "FP32", Shape: shape}},
		RawOutputContents: [][]byte{floats(samples)},
	}
}

func (s *server) infer(ctx context.Context, q *kserve.ModelInferRequest) (*kserve.ModelInferResponse, error) {
	texts, end, err := s.begin(q, false)
	if err != nil {
		return nil, err
	}
	defer end()
	if s.sizes {
		return together(q, texts)
	}
	samples := speech(texts[0]) // as the official model, whatever else there is
	a := answerOf(q, []int64{1, int64(len(samples))}, samples)
	fault := s.faultOf(texts[0])
	return a, s.spoil(ctx, fault, a, samples)
}

// together answers many texts, padded to the longest.
func together(q *kserve.ModelInferRequest, texts []string) (*kserve.ModelInferResponse, error) {
	widest := 0
	var all [][]float32
	var sizes []byte
	for _, text := range texts {
		if strings.HasPrefix(text, "INTERNAL ") {
			return nil, status.Error(codes.Internal, "CUDA out of memory")
		}
		samples := speech(text)
		all, widest = append(all, samples), max(widest, len(samples))
		sizes = binary.LittleEndian.AppendUint32(sizes, uint32(len(samples)))
	}
	var rows []float32
	for _, samples := range all {
		rows = append(append(rows, samples...), make([]float32, widest-len(samples))...)
	}
	a := answerOf(q, []int64{int64(len(texts)), int64(widest)}, rows)
	switch texts[0] {
	case "ROWS are lost.":
		a = answerOf(q, []int64{1, int64(len(texts) * widest)}, rows)
	case "SIZES are wrong.":
		binary.LittleEndian.PutUint32(sizes, uint32(widest+1))
	}
	a.Outputs = append(a.Outputs, &kserve.ModelInferResponse_InferOutputTensor{Name: "waveform_len", Datatype: "INT32", Shape: []int64{int64(len(texts)), 1}})
	a.RawOutputContents = append(a.RawOutputContents, sizes)
	return a, nil
}

func (s *server) faultOf(text string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fault != "" {
		return s.fault
	}
	fault, _, _ := strings.Cut(text, " ")
	return fault
}

// spoil does to a what fault says.
func (s *server) spoil(ctx context.Context, fault string, a *kserve.ModelInferResponse, samples []float32) error {
	for c := codes.Canceled; c <= codes.Unauthenticated; c++ {
		if fault == c.String() {
			return status.Error(c, "the text was\nnot to its liking "+strings.Repeat("x", 500))
		}
	}
	switch fault {
	case "HANG":
		<-ctx.Done()
		return ctx.Err() //nolint:wrapcheck // nobody reads it
	case "DEATH": // the model ends, the server lives
		s.set(func() { s.gone = true })
		return status.Error(codes.Internal, "Stub process 'cosyvoice3_0_0' is not healthy.")
	case "RESET":
		s.set(func() {
			for _, c := range s.conns {
				_ = c.Close()
			}
		})
		<-ctx.Done()
		return ctx.Err() //nolint:wrapcheck // nobody reads it
	case "GONE":
		s.set(func() { s.gone = true })
		return status.Error(codes.Unavailable, "Server is stopping")
	case "NAN":
		samples[len(samples)/2] = float32(math.NaN())
	case "INF":
		samples[len(samples)/2] = float32(math.Inf(-1))
	case "LOUD":
		samples[0], samples[1] = 7, -7
	case "LIMIT":
		samples = make([]float32, 30*testRate)
		a.Outputs[0].Shape = []int64{1, int64(len(samples))}
	case "ENDLESS":
		samples = make([]float32, 40*testRate)
		a.Outputs[0].Shape = []int64{1, int64(len(samples))}
	case "EMPTY":
		samples = nil
		a.Outputs[0].Shape = []int64{1, 0}
	case "NOTHING":
		a.Outputs, a.RawOutputContents = nil, nil
		return nil
	case "SHAPE":
		a.Outputs[0].Shape[1]++
	case "NEGATIVE":
		a.Outputs[0].Shape = []int64{-1, -int64(len(samples))}
	case "HUGE":
		a.Outputs[0].Shape = []int64{1 << 40, 1 << 40}
	case "ROWS":
		a.Outputs[0].Shape = []int64{2, int64(len(samples)) / 2}
		samples = samples[:len(samples)/2*2]
	case "TYPE":
		a.Outputs[0].Datatype = "FP16"
	case "NORAW":
		a.Outputs = append([]*kserve.ModelInferResponse_InferOutputTensor{{Name: "other", Datatype: "FP32", Shape: []int64{1}}}, a.Outputs...)
	case "CONTENTS": // as servers that are not Triton may
		a.Outputs[0].Contents = &kserve.InferTensorContents{Fp32Contents: samples}
		a.RawOutputContents = nil
		return nil
	case "SILENCE":
		clear(samples)
	}
	a.RawOutputContents[0] = floats(samples)
	return nil
}

// stream answers each request in pieces of a tenth of a second and an empty one that
// ends them.
func (s *server) stream(stream grpc.ServerStream) error {
	for {
		q := new(kserve.ModelInferRequest)
		if err := stream.RecvMsg(q); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err //nolint:wrapcheck // of the stream
		}
		texts, end, err := s.begin(q, true)
		if err != nil {
			return err
		}
		err = s.pieces(stream, q, texts[0])
		end()
		if err != nil {
			return err
		}
	}
}

func (s *server) pieces(stream grpc.ServerStream, q *kserve.ModelInferRequest, text string) error {
	final := func(r *kserve.ModelInferResponse, is bool) *kserve.ModelStreamInferResponse {
		r.Parameters = map[string]*kserve.InferParameter{kserve.Final: {ParameterChoice: &kserve.InferParameter_BoolParam{BoolParam: is}}}
		return &kserve.ModelStreamInferResponse{InferResponse: r}
	}
	fault := s.faultOf(text)
	samples := speech(text)
	switch fault {
	case "WORDS":
		return stream.SendMsg(&kserve.ModelStreamInferResponse{ErrorMessage: "LLM generated no speech tokens"}) //nolint:wrapcheck // of the stream
	case "EMPTY":
		samples = nil
	case "ENDLESS":
		samples = make([]float32, 40*testRate)
	case "SILENCE":
		clear(samples)
	case "LIMIT":
		samples, fault = make([]float32, 30*testRate), ""
	}
	sent := 0
	for len(samples) > 0 {
		piece := samples[:min(testRate/10, len(samples))]
		samples = samples[len(piece):]
		a := answerOf(q, []int64{1, int64(len(piece))}, piece)
		if sent++; sent == 3 {
			if err := s.spoil(stream.Context(), fault, a, piece); err != nil {
				return err
			}
			if fault == "CUT" {
				return nil
			}
		}
		if err := stream.SendMsg(final(a, false)); err != nil {
			return err //nolint:wrapcheck // of the stream
		}
	}
	if _, asked := q.GetParameters()[kserve.WantEmptyFinal]; !asked {
		return nil
	}
	return stream.SendMsg(final(&kserve.ModelInferResponse{ModelName: q.GetModelName(), Id: q.GetId()}, true)) //nolint:wrapcheck // of the stream
}

// recording writes reference audio of so many seconds and returns its path.
func recording(t *testing.T, rate int, seconds float64) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "reference.wav")
	samples := make([]int16, int(seconds*float64(rate)))
	for i := range samples {
		samples[i] = int16(8000 * math.Sin(2*math.Pi*200*float64(i)/float64(rate)))
	}
	require.NoError(t, os.WriteFile(path, wav.Encode(rate, samples), 0o600))
	return path
}

// settings returns a configuration for servers.
func settings(t *testing.T, servers ...*server) Config {
	t.Helper()
	cfg := Config{
		Voices:      map[string]Voice{"anna": {RefAudio: recording(t, 24000, 3), RefText: "What is said.", Language: "en"}},
		BackendRate: testRate, MaxBatch: 8, MinTimeout: 20 * time.Second,
	}
	for _, s := range servers {
		cfg.Backends = append(cfg.Backends, s.address())
	}
	return cfg
}

// open returns the engine of the first backend.
func open(t *testing.T, cfg Config) *Engine {
	t.Helper()
	all, err := New(cfg)
	require.NoError(t, err)
	for _, e := range all {
		t.Cleanup(func() { require.NoError(t, e.Close()) })
	}
	return all[0]
}
