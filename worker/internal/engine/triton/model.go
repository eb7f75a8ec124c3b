package triton

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"google.golang.org/grpc/codes"

	"github.com/voicemill/voicemill/api/kserve"
)

// Tensors of the model.
const (
	targetText   = "target_text"
	refWave      = "reference_wav"
	refLength    = "reference_wav_len"
	refText      = "reference_text"
	waveform     = "waveform"
	waveformSize = "waveform_len"
)

// errModel is why no text can be asked for: the model is another one than this
// package speaks to.
var errModel = errors.New("the model cannot be used")

// model is what a backend's model is like.
type model struct {
	batched   bool // tensors have a first dimension, for the batch
	together  int  // texts that one request may have
	decoupled bool
}

// inspect asks what the model is like, unless it was asked and has not failed since.
func (e *Engine) inspect(ctx context.Context) (model, error) {
	if m := e.model.Load(); m != nil {
		return *m, nil
	}
	ctx, cancel := context.WithTimeoutCause(ctx, e.cfg.ConnectTimeout, errHung)
	defer cancel()
	meta := new(kserve.ModelMetadataResponse)
	if err := e.invoke(ctx, kserve.ModelMetadata, &kserve.ModelMetadataRequest{Name: e.cfg.Model}, meta); err != nil {
		return model{}, err
	}
	config := new(kserve.ModelConfigResponse)
	err := e.invoke(ctx, kserve.ModelConfigOf, &kserve.ModelConfigRequest{Name: e.cfg.Model}, config)
	if answer, ok := errors.AsType[*callError](err); ok && answer.code == codes.Unimplemented {
		err = nil // a server that is not Triton; it has no decoupled models
	}
	if err != nil {
		return model{}, err
	}
	m, err := readModel(meta, config.GetConfig())
	if err != nil {
		return model{}, err
	}
	e.model.Store(&m)
	return m, nil
}

// readModel says how a model is called, or what it lacks.
func readModel(meta *kserve.ModelMetadataResponse, config *kserve.ModelConfig) (model, error) {
	tensor := func(list []*kserve.ModelMetadataResponse_TensorMetadata, name, datatype string) (dims int, err error) {
		i := slices.IndexFunc(list, func(t *kserve.ModelMetadataResponse_TensorMetadata) bool { return t.GetName() == name })
		if i < 0 {
			return 0, fmt.Errorf("%w: it has no %s", errModel, name)
		}
		if got := list[i].GetDatatype(); got != datatype {
			return 0, fmt.Errorf("%w: %s is %.20q; want %s", errModel, name, got, datatype)
		}
		return len(list[i].GetShape()), nil
	}
	var errs []error
	dims := 0
	for _, in := range []struct{ name, datatype string }{{refWave, "FP32"}, {refLength, "INT32"}, {refText, "BYTES"}, {targetText, "BYTES"}} {
		var err error
		dims, err = tensor(meta.GetInputs(), in.name, in.datatype)
		errs = append(errs, err)
	}
	_, err := tensor(meta.GetOutputs(), waveform, "FP32")
	errs = append(errs, err)
	if err := errors.Join(errs...); err != nil {
		return model{}, err
	}
	m := model{batched: dims > 1, together: 1, decoupled: config.GetModelTransactionPolicy().GetDecoupled()}
	if _, err := tensor(meta.GetOutputs(), waveformSize, "INT32"); err == nil && m.batched && !m.decoupled {
		m.together = max(1, int(config.GetMaxBatchSize()))
	}
	return m, nil
}
