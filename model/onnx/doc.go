// Package onnx runs ONNX models in process, through ONNX Runtime's shared
// library, which is opened at run time.
//
// One session serves a model, shared by all goroutines; a fixed number of
// lanes, each with its own input memory, bound how many calls run at a time.
// The graph's inputs and outputs are read from the file by this package rather
// than by the runtime, whose way of telling them is to build a second session.
//
// What the runtime or its binding cannot hand over is changed in the graph
// before it is opened (see rewrite.go): a ZipMap, which makes a map a row and
// costs several times the model, gives way to the tensor that feeds it.
//
// Without cgo the package builds, and [Open] says that ONNX is unavailable.
package onnx
