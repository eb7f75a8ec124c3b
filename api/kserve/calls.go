package kserve

// The service and its calls, as paths.
const (
	Service          = "inference.GRPCInferenceService"
	ServerLive       = "/" + Service + "/ServerLive"
	ServerReady      = "/" + Service + "/ServerReady"
	ModelReady       = "/" + Service + "/ModelReady"
	ModelMetadata    = "/" + Service + "/ModelMetadata"
	ModelConfigOf    = "/" + Service + "/ModelConfig" // Triton's own
	ModelInfer       = "/" + Service + "/ModelInfer"
	ModelStreamInfer = "/" + Service + "/ModelStreamInfer" // Triton's own, of streams both ways
)

// Parameters of Triton's streams.
const (
	// WantEmptyFinal is set in a request for an answer of its own that ends the others.
	WantEmptyFinal = "triton_enable_empty_final_response"
	// Final is set in the last answer to a request.
	Final = "triton_final_response"
)
