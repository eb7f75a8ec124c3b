// Package kserve holds the messages of the Open Inference Protocol, which Triton and
// other inference servers speak over gRPC, and the names of the calls that they go
// with. It does not link gRPC: who calls or serves brings that along.
package kserve

//go:generate go run ../internal/genproto ../proto .. kserve/v2/inference.proto
