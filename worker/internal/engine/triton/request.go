package triton

import (
	"encoding/binary"

	"github.com/voicemill/voicemill/api/kserve"
)

// ask is one text on its way: where it stands in the batch, and what is sent for it.
type ask struct {
	index   int
	id      string
	text    string
	voice   reference
	seconds float64 // predicted
}

// request is what m is asked for asks, which are several only where it takes several.
func (c Config) request(m model, asks []ask) *kserve.ModelInferRequest {
	n := int64(len(asks))
	widest := 0
	for _, a := range asks {
		widest = max(widest, len(a.voice.padded))
	}
	var wave, lengths, refTexts, texts []byte
	for _, a := range asks {
		wave = append(wave, a.voice.padded...)
		wave = append(wave, make([]byte, widest-len(a.voice.padded))...)
		lengths = binary.LittleEndian.AppendUint32(lengths, uint32(a.voice.samples)) //nolint:gosec // 30 s at most
		refTexts = append(refTexts, a.voice.text...)
		texts = append(texts, element(a.text)...)
	}
	tensor := func(name, datatype string, length int) *kserve.ModelInferRequest_InferInputTensor {
		shape := []int64{int64(length)}
		if m.batched {
			shape = []int64{n, int64(length)}
		}
		return &kserve.ModelInferRequest_InferInputTensor{Name: name, Datatype: datatype, Shape: shape}
	}
	q := &kserve.ModelInferRequest{
		ModelName: c.Model,
		Id:        asks[0].id,
		Inputs: []*kserve.ModelInferRequest_InferInputTensor{
			tensor(refWave, "FP32", widest/4), tensor(refLength, "INT32", 1), tensor(refText, "BYTES", 1), tensor(targetText, "BYTES", 1),
		},
		RawInputContents: [][]byte{wave, lengths, refTexts, texts},
		Outputs:          []*kserve.ModelInferRequest_InferRequestedOutputTensor{{Name: waveform}},
	}
	if m.together > 1 {
		q.Outputs = append(q.Outputs, &kserve.ModelInferRequest_InferRequestedOutputTensor{Name: waveformSize})
	}
	if m.decoupled {
		q.Parameters = map[string]*kserve.InferParameter{
			kserve.WantEmptyFinal: {ParameterChoice: &kserve.InferParameter_BoolParam{BoolParam: true}},
		}
	}
	return q
}
