package model

import "fmt"

// DType is the element type of a [Tensor]. The set is that of ONNX and of the
// Open Inference Protocol.
type DType uint8

// The element types. The zero value is not a type.
const (
	Invalid DType = iota
	Bool
	Int8
	Int16
	Int32
	Int64
	Uint8
	Uint16
	Uint32
	Uint64
	Float16
	Float32
	Float64
	String
)

// More types that Python's arrays have and no tensor does; a request passes
// through them on its way.
const (
	objectType DType = iota + String + 1 // any value a cell
	bytesType
	timeType
)

type dtypeInfo struct {
	size  int    // bytes an element; 0 for String
	numpy string // the name in an MLflow tensor-spec
	v2    string // the name in the Open Inference Protocol
}

//nolint:gochecknoglobals // a constant table
var dtypes = [...]dtypeInfo{
	Invalid: {0, "invalid", "INVALID"},
	Bool:    {1, "bool", "BOOL"},
	Int8:    {1, "int8", "INT8"},
	Int16:   {2, "int16", "INT16"},
	Int32:   {4, "int32", "INT32"},
	Int64:   {8, "int64", "INT64"},
	Uint8:   {1, "uint8", "UINT8"},
	Uint16:  {2, "uint16", "UINT16"},
	Uint32:  {4, "uint32", "UINT32"},
	Uint64:  {8, "uint64", "UINT64"},
	Float16: {2, "float16", "FP16"},
	Float32: {4, "float32", "FP32"},
	Float64: {8, "float64", "FP64"},
	String:  {0, "str", "BYTES"},

	objectType: {0, "object", "INVALID"},
	bytesType:  {0, "bytes", "INVALID"},
	timeType:   {0, "datetime64[ns]", "INVALID"},
}

// Size returns the bytes of one element, 0 for [String].
func (d DType) Size() int { return dtypes[d].size }

// String returns numpy's name of the type, as MLflow writes it: "float32".
func (d DType) String() string { return dtypes[d].numpy }

// V2 returns the Open Inference Protocol's name of the type: "FP32".
func (d DType) V2() string { return dtypes[d].v2 }

// ParseDType reads numpy's name of a type, as it stands in an MLflow
// tensor-spec. "object" is a string, as MLflow takes it.
func ParseDType(s string) (DType, error) {
	switch s {
	case "object", "string":
		return String, nil
	}
	for d := Bool; d <= String; d++ {
		if dtypes[d].numpy == s {
			return d, nil
		}
	}
	return Invalid, fmt.Errorf("unknown tensor type %q", s)
}

// ParseV2DType reads the Open Inference Protocol's name of a type.
func ParseV2DType(s string) (DType, error) {
	for d := Bool; d <= String; d++ {
		if dtypes[d].v2 == s {
			return d, nil
		}
	}
	return Invalid, fmt.Errorf("unknown datatype %q", s)
}
