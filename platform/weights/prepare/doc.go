// Package prepare makes the files of a model into what sherpa-onnx loads.
//
// The library wants to find in a model's file what kind of model it is, and a
// table of the model's symbols beside it; those who publish voices for Piper and
// Kokoro put this elsewhere. A model's file is a protobuf message, so what is
// missing is appended to it: messages merge.
package prepare
