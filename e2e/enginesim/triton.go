package enginesim

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"strconv"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/voicemill/voicemill/api/kserve"
)

// The models.
const (
	Alone  = "cosyvoice3"        // one text a call
	Stream = "cosyvoice3_stream" // one text a call, and answers of half a second
	Rows   = "cosyvoice3_rows"   // several texts a call
)

const pieceSeconds = .5

func (s *Sim) register(g *grpc.Server) {
	g.RegisterService(&grpc.ServiceDesc{
		ServiceName: kserve.Service, HandlerType: (*any)(nil),
		Methods: []grpc.MethodDesc{
			method("ServerLive", func(context.Context, *kserve.ServerLiveRequest) (*kserve.ServerLiveResponse, error) {
				return &kserve.ServerLiveResponse{Live: true}, nil
			}),
			method("ServerReady", func(context.Context, *kserve.ServerReadyRequest) (*kserve.ServerReadyResponse, error) {
				return &kserve.ServerReadyResponse{Ready: true}, nil
			}),
			method("ModelReady", func(_ context.Context, q *kserve.ModelReadyRequest) (*kserve.ModelReadyResponse, error) {
				return &kserve.ModelReadyResponse{Ready: known(q.GetName()) == nil}, nil
			}),
			method("ModelMetadata", s.metadata), method("ModelConfig", s.config), method("ModelInfer", s.infer),
		},
		Streams: []grpc.StreamDesc{{StreamName: "ModelStreamInfer", ServerStreams: true, ClientStreams: true, Handler: func(_ any, stream grpc.ServerStream) error { return s.streamInfer(stream) }}},
	}, s)
}

func method[Q, A any](name string, answer func(context.Context, *Q) (*A, error)) grpc.MethodDesc {
	return grpc.MethodDesc{MethodName: name, Handler: func(_ any, ctx context.Context, read func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
		q := new(Q)
		if err := read(q); err != nil {
			return nil, err
		}
		return answer(ctx, q)
	}}
}

func known(model string) error {
	if model == Alone || model == Stream || model == Rows {
		return nil
	}
	return status.Errorf(codes.NotFound, "Request for unknown model: '%s' is not found", model)
}

func (s *Sim) metadata(_ context.Context, q *kserve.ModelMetadataRequest) (*kserve.ModelMetadataResponse, error) {
	if err := known(q.GetName()); err != nil {
		return nil, err
	}
	tensor := func(name, datatype string, dim int64) *kserve.ModelMetadataResponse_TensorMetadata {
		return &kserve.ModelMetadataResponse_TensorMetadata{Name: name, Datatype: datatype, Shape: []int64{-1, dim}}
	}
	m := &kserve.ModelMetadataResponse{
		Name: q.GetName(), Versions: []string{"1"}, Platform: "python",
		Inputs: []*kserve.ModelMetadataResponse_TensorMetadata{
			tensor("reference_wav", "FP32", -1), tensor("reference_wav_len", "INT32", 1), tensor("reference_text", "BYTES", 1), tensor("target_text", "BYTES", 1),
		},
		Outputs: []*kserve.ModelMetadataResponse_TensorMetadata{tensor("waveform", "FP32", -1)},
	}
	if q.GetName() == Rows {
		m.Outputs = append(m.Outputs, tensor("waveform_len", "INT32", 1))
	}
	return m, nil
}

func (s *Sim) config(_ context.Context, q *kserve.ModelConfigRequest) (*kserve.ModelConfigResponse, error) {
	if err := known(q.GetName()); err != nil {
		return nil, err
	}
	return &kserve.ModelConfigResponse{Config: &kserve.ModelConfig{
		Name: q.GetName(), MaxBatchSize: int32(s.cfg.Batch), //nolint:gosec // a batch
		ModelTransactionPolicy: &kserve.ModelTransactionPolicy{Decoupled: q.GetName() == Stream},
	}}, nil
}

// elements are the elements of a BYTES tensor.
func elements(raw []byte) (all []string, ok bool) {
	for len(raw) > 0 {
		if len(raw) < 4 {
			return nil, false
		}
		n := binary.LittleEndian.Uint32(raw)
		if uint64(n) > uint64(len(raw)-4) {
			return nil, false
		}
		all, raw = append(all, string(raw[4:4+n])), raw[4+n:]
	}
	return all, true
}

// texts reads a request as Triton and the model would: what is to be said, and by whom and how.
func (s *Sim) texts(q *kserve.ModelInferRequest, stream bool) (texts, voices []string, err error) {
	wrong := func(message string) ([]string, []string, error) {
		return nil, nil, status.Error(codes.InvalidArgument, message)
	}
	if err := known(q.GetModelName()); err != nil {
		return nil, nil, err
	}
	if q.GetModelName() == Stream && !stream {
		return nil, nil, status.Error(codes.Unimplemented, "ModelInfer RPC doesn't support models with decoupled transaction policy")
	}
	if len(q.GetRawInputContents()) != len(q.GetInputs()) {
		return wrong("expected as many raw contents as inputs")
	}
	raw := map[string][]byte{}
	for i, in := range q.GetInputs() {
		if len(in.GetShape()) != 2 || in.GetShape()[0] < 1 || in.GetShape()[0] > int64(s.cfg.Batch) {
			return wrong("unexpected shape for input '" + in.GetName() + "' for model '" + q.GetModelName() + "'")
		}
		raw[in.GetName()] = q.GetRawInputContents()[i]
	}
	texts, ok := elements(raw["target_text"])
	transcripts, fine := elements(raw["reference_text"])
	if !ok || !fine || len(texts) == 0 || len(transcripts) != len(texts) {
		return wrong("inputs 'target_text' and 'reference_text' are no strings")
	}
	if q.GetModelName() != Rows {
		texts = texts[:1] // what else there is, the model does not look at
	}
	wave := raw["reference_wav"]
	width := len(wave) / len(transcripts)
	for i := range texts {
		voice := s.voice(transcripts[i], strconv.FormatUint(hash(string(wave[i*width:(i+1)*width])), 16))
		instructions := prompted(transcripts[i])
		voices = append(voices, s.manner(voice, instructions))
	}
	return texts, voices, nil
}

// failure is the status that a fault ends a call with.
func failure(said spoken, err error) error {
	switch {
	case errors.Is(err, errMemory):
		return status.Error(codes.Internal, err.Error())
	case err != nil:
		return status.FromContextError(err).Err()
	case said.fault == Error:
		return status.Error(codes.Internal, "Failed to process the request")
	case said.fault == Busy:
		return status.Error(codes.ResourceExhausted, "Exceeds maximum queue size")
	case said.fault == Refuse:
		return status.Error(codes.InvalidArgument, "this text is refused")
	case said.fault == Cut:
		return status.Error(codes.DataLoss, "the answer was lost") // for a call that cannot be cut in the middle
	}
	return nil
}

func tensors(q *kserve.ModelInferRequest, shape []int64, samples []float32) *kserve.ModelInferResponse {
	raw := make([]byte, 0, 4*len(samples))
	for _, x := range samples {
		raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(x))
	}
	return &kserve.ModelInferResponse{
		ModelName: q.GetModelName(), ModelVersion: "1", Id: q.GetId(),
		Outputs:           []*kserve.ModelInferResponse_InferOutputTensor{{Name: "waveform", Datatype: "FP32", Shape: shape}},
		RawOutputContents: [][]byte{raw},
	}
}

func (s *Sim) infer(ctx context.Context, q *kserve.ModelInferRequest) (*kserve.ModelInferResponse, error) {
	texts, voices, err := s.texts(q, false)
	if err != nil {
		return nil, err
	}
	rows := make([]spoken, len(texts))
	errs := make([]error, len(texts))
	var wg sync.WaitGroup
	for i, text := range texts {
		wg.Go(func() {
			rows[i], errs[i] = s.speak(ctx, voices[i], text, 1)
			errs[i] = failure(rows[i], errs[i])
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return nil, err // one text fails all of its call
		}
	}
	return s.together(q, rows), nil
}

// together pads rows to the longest.
func (s *Sim) together(q *kserve.ModelInferRequest, rows []spoken) *kserve.ModelInferResponse {
	widest := 0
	for _, r := range rows {
		widest = max(widest, len(r.samples))
	}
	var all []float32
	var sizes []byte
	n := len(rows)
	for _, r := range rows {
		spoil(r)
		all = append(append(all, r.samples...), make([]float32, widest-len(r.samples))...)
		sizes = binary.LittleEndian.AppendUint32(sizes, uint32(len(r.samples))) //nolint:gosec // a text of a call
		if r.fault == Count {
			n = len(rows) + 1
		}
	}
	if n > len(rows) {
		all = append(all, make([]float32, widest)...)
	}
	a := tensors(q, []int64{int64(n), int64(widest)}, all)
	if q.GetModelName() == Rows {
		a.Outputs = append(a.Outputs, &kserve.ModelInferResponse_InferOutputTensor{Name: "waveform_len", Datatype: "INT32", Shape: []int64{int64(len(rows)), 1}})
		a.RawOutputContents = append(a.RawOutputContents, sizes)
	}
	return a
}

// spoil makes garbage of samples where that is the fault.
func spoil(said spoken) {
	if said.fault == Garbage {
		for i := range said.samples {
			said.samples[i] = float32(math.NaN())
		}
	}
}

func (s *Sim) streamInfer(stream grpc.ServerStream) error {
	for {
		q := new(kserve.ModelInferRequest)
		if err := stream.RecvMsg(q); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err //nolint:wrapcheck // of the stream
		}
		texts, voices, err := s.texts(q, true)
		if err != nil {
			return err
		}
		said, err := s.speak(stream.Context(), voices[0], texts[0], 1)
		if said.fault != Cut {
			if err := failure(said, err); err != nil {
				return err
			}
		}
		if err := s.pieces(stream, q, said); err != nil {
			return err
		}
		if said.fault == Cut {
			return nil
		}
	}
}

func (s *Sim) pieces(stream grpc.ServerStream, q *kserve.ModelInferRequest, said spoken) error {
	spoil(said)
	send := func(a *kserve.ModelInferResponse, final bool) error {
		a.Parameters = map[string]*kserve.InferParameter{kserve.Final: {ParameterChoice: &kserve.InferParameter_BoolParam{BoolParam: final}}}
		return stream.SendMsg(&kserve.ModelStreamInferResponse{InferResponse: a}) //nolint:wrapcheck // of the stream
	}
	rest, step := said.samples, int(pieceSeconds*float64(s.cfg.Rate))
	if said.fault == Cut {
		rest = rest[:len(rest)/2]
	}
	for len(rest) > 0 {
		piece := rest[:min(step, len(rest))]
		rest = rest[len(piece):]
		a := tensors(q, []int64{1, int64(len(piece))}, piece)
		if said.fault == Count {
			a.Outputs[0].Shape[0] = 2
		}
		if err := send(a, false); err != nil {
			return err
		}
	}
	if said.fault == Cut || !q.GetParameters()[kserve.WantEmptyFinal].GetBoolParam() {
		return nil
	}
	return send(&kserve.ModelInferResponse{ModelName: q.GetModelName(), ModelVersion: "1", Id: q.GetId()}, true)
}
