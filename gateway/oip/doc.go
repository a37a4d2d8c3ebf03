// Package oip is the Open Inference Protocol over gRPC
// (https://github.com/kserve/open-inference-protocol): its messages, its service, and the
// turning of inference requests and responses into the bodies of the same protocol over
// HTTP with the binary tensor data extension, and back. That goes from wire to wire, for
// tensors are large and are copied once. inference.pb.go is made from inference.proto by
// protoc-gen-go; it is for the small messages, for reflection, and for tests.
package oip
