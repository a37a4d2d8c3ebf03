// Package onnxtest builds small ONNX models and MLflow model folders around
// them, for tests and benchmarks.
package onnxtest

import (
	"encoding/binary"
	"fmt"
	"math"

	"google.golang.org/protobuf/encoding/protowire"
)

// ONNX's element types.
const (
	Float   = 1
	Uint8   = 2
	Int8    = 3
	Uint16  = 4
	Int16   = 5
	Int32   = 6
	Int64   = 7
	String  = 8
	Bool    = 9
	Float16 = 10
	Double  = 11
	Uint32  = 12
	Uint64  = 13
)

// Value is an input or output. A dimension of -1 is variable; nil Dims leave
// the rank open. Kind is "" for a tensor, or "sequence" or "map".
type Value struct {
	Name string
	Elem int64
	Dims []int64
	Kind string
}

// Tensor is an initializer: exactly one of Floats, Ints and External is set.
type Tensor struct {
	Name     string
	Dims     []int64
	Floats   []float32
	Ints     []int64
	External map[string]string // location, offset, length: float data in a file
}

// Attr is a node's attribute: an int, []float32, []int64, []string, string, or
// Graph, the body of a loop.
type Attr struct {
	Name  string
	Value any
}

// Node is an operation.
type Node struct {
	Op, Domain string
	In, Out    []string
	Attrs      []Attr
}

// Graph is a model.
type Graph struct {
	Inputs, Outputs []Value
	Tensors         []Tensor
	Nodes           []Node
	Opset           int64 // 17 when it is 0
}

// Bytes is the model file.
func (g Graph) Bytes() []byte {
	opset := g.Opset
	if opset == 0 {
		opset = 17
	}
	model := number(nil, 1, 8)
	model = message(model, 7, g.graph())
	model = message(model, 8, number(text(nil, 1, ""), 2, opset))
	return message(model, 8, number(text(nil, 1, "ai.onnx.ml"), 2, 3))
}

func (g Graph) graph() []byte {
	var graph []byte
	for _, n := range g.Nodes {
		graph = message(graph, 1, n.bytes())
	}
	graph = text(graph, 2, "test")
	for _, t := range g.Tensors {
		graph = message(graph, 5, t.bytes())
	}
	for _, v := range g.Inputs {
		graph = message(graph, 11, v.bytes())
	}
	for _, v := range g.Outputs {
		graph = message(graph, 12, v.bytes())
	}
	return graph
}

func (v Value) bytes() []byte {
	tensor := number(nil, 1, v.Elem)
	if v.Dims != nil {
		var shape []byte
		for i, d := range v.Dims {
			dim := number(nil, 1, d)
			if d < 0 {
				dim = text(nil, 2, fmt.Sprintf("D%d", i))
			}
			shape = message(shape, 1, dim)
		}
		tensor = message(tensor, 2, shape)
	}
	typ := message(nil, 1, tensor)
	switch v.Kind {
	case "sequence":
		typ = message(nil, 4, message(nil, 1, typ))
	case "map":
		typ = message(nil, 5, message(number(nil, 1, Int64), 2, typ))
	case "sequence of maps":
		m := message(nil, 5, message(number(nil, 1, v.Elem), 2, message(nil, 1, number(nil, 1, Float))))
		typ = message(nil, 4, message(nil, 1, m))
	}
	return message(text(nil, 1, v.Name), 2, typ)
}

func (t Tensor) bytes() []byte {
	var b []byte
	for _, d := range t.Dims {
		b = number(b, 1, d)
	}
	switch {
	case t.External != nil:
		b = number(b, 2, Float)
		for k, v := range t.External {
			b = message(b, 13, text(text(nil, 1, k), 2, v))
		}
		b = number(b, 14, 1)
	case t.Ints != nil:
		b = number(b, 2, Int64)
		var raw []byte
		for _, i := range t.Ints {
			raw = binary.LittleEndian.AppendUint64(raw, uint64(i)) //nolint:gosec // two's complement
		}
		b = message(b, 9, raw)
	default:
		b = message(number(b, 2, Float), 9, floatBytes(t.Floats))
	}
	return text(b, 8, t.Name)
}

func floatBytes(floats []float32) []byte {
	raw := make([]byte, 0, 4*len(floats))
	for _, f := range floats {
		raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(f))
	}
	return raw
}

func (n Node) bytes() []byte {
	var b []byte
	for _, in := range n.In {
		b = text(b, 1, in)
	}
	for _, out := range n.Out {
		b = text(b, 2, out)
	}
	b = text(b, 3, n.Op+"_"+n.Out[0])
	b = text(b, 4, n.Op)
	for _, a := range n.Attrs {
		b = message(b, 5, a.bytes())
	}
	return text(b, 7, n.Domain)
}

func (a Attr) bytes() []byte {
	b := text(nil, 1, a.Name)
	switch v := a.Value.(type) {
	case int:
		return number(number(b, 3, int64(v)), 20, 2)
	case string:
		return number(text(b, 4, v), 20, 3)
	case []float32:
		return number(message(b, 7, floatBytes(v)), 20, 6)
	case []int64:
		for _, i := range v {
			b = number(b, 8, i)
		}
		return number(b, 20, 7)
	case []string:
		for _, s := range v {
			b = text(b, 9, s)
		}
		return number(b, 20, 8)
	case Graph:
		return number(message(b, 6, v.graph()), 20, 5)
	default:
		panic(fmt.Sprintf("onnxtest: attribute of type %T", a.Value))
	}
}

func message(dst []byte, num protowire.Number, msg []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(dst, num, protowire.BytesType), msg)
}

func text(dst []byte, num protowire.Number, s string) []byte {
	return message(dst, num, []byte(s))
}

func number(dst []byte, num protowire.Number, v int64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(dst, num, protowire.VarintType), uint64(v)) //nolint:gosec // two's complement
}
