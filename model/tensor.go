package model

import (
	"fmt"
	"unsafe"
)

// Tensor is a dense, row-major array with a name.
//
// Numbers and booleans live in Data in the machine's byte order, so that
// batches are joined and cut by copying bytes, whatever their type; strings
// live in Strings. Data starts at a multiple of 8 bytes.
type Tensor struct {
	Name    string
	DType   DType
	Shape   []int64
	Data    []byte
	Strings []string

	// Labels name the columns of the last dimension of an output whose model
	// answers with a map a row (ONNX's ZipMap, as scikit-learn's classifiers
	// have it); the answer then is an object a row instead of an array.
	Labels []string
}

// Element is a Go type that a tensor's elements can be viewed as. Float16 is
// viewed as its bits.
type Element interface {
	~bool | ~int8 | ~int16 | ~int32 | ~int64 | ~uint8 | ~uint16 | ~uint32 | ~uint64 | ~float32 | ~float64
}

// View returns the tensor's elements as a slice over the same memory. T has to
// have the size of the tensor's element type.
func View[T Element](t *Tensor) []T {
	if len(t.Data) == 0 {
		return nil
	}
	var zero T
	return unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(t.Data))), len(t.Data)/int(unsafe.Sizeof(zero))) //nolint:gosec // Data is 8-byte aligned by contract
}

// BytesOf returns the memory of s as bytes, to be a Tensor's Data.
func BytesOf[T Element](s []T) []byte {
	if len(s) == 0 {
		return nil
	}
	var zero T
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(s))), len(s)*int(unsafe.Sizeof(zero))) //nolint:gosec // a view of the same memory
}

// Elements returns the number of elements that a shape holds, 1 for a scalar.
// It fails on a negative dimension and on a product beyond limit.
func Elements(shape []int64, limit int64) (int64, error) {
	n := int64(1)
	for _, d := range shape {
		if d < 0 {
			return 0, fmt.Errorf("shape %v has a negative dimension", shape)
		}
		if d != 0 && n > limit/d {
			return 0, fmt.Errorf("shape %v holds more than %d elements", shape, limit)
		}
		n *= d
	}
	return n, nil
}

// Len returns the number of elements that the tensor holds.
func (t *Tensor) Len() int {
	if t.DType == String {
		return len(t.Strings)
	}
	if size := t.DType.Size(); size > 0 {
		return len(t.Data) / size
	}
	return 0
}
