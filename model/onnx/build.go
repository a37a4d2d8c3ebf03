package onnx

import "google.golang.org/protobuf/encoding/protowire"

// message appends a length-delimited field.
func message(dst []byte, num protowire.Number, msg []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(dst, num, protowire.BytesType), msg)
}

func number(dst []byte, num protowire.Number, v int64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(dst, num, protowire.VarintType), uint64(v)) //nolint:gosec // two's complement is protobuf's int64
}

// valueProto is a ValueInfoProto of a tensor; a nil shape leaves the rank open.
func valueProto(name string, elem int32, shape []int64) []byte {
	t := number(nil, tensorTypeElem, int64(elem))
	if shape != nil {
		var dims []byte
		for _, d := range shape {
			var dim []byte
			if d >= 0 {
				dim = number(nil, dimValue, d)
			}
			dims = message(dims, shapeDim, dim)
		}
		t = message(t, tensorTypeShape, dims)
	}
	v := message(nil, valueName, []byte(name))
	return message(v, valueType, message(nil, typeTensor, t))
}

// nodeMessage is a NodeProto, nodeProto the same as a field of a graph.
func nodeMessage(op, domain string, inputs []string, output string, attrs ...[]byte) []byte {
	var n []byte
	for _, in := range inputs {
		n = message(n, nodeInput, []byte(in))
	}
	n = message(n, nodeOutput, []byte(output))
	n = message(n, nodeName, []byte(output+suffix))
	n = message(n, nodeOpType, []byte(op))
	for _, a := range attrs {
		n = message(n, nodeAttr, a)
	}
	if domain != "" {
		n = message(n, nodeDomain, []byte(domain))
	}
	return n
}

func nodeProto(op string, inputs []string, output string, attrs ...[]byte) []byte {
	return message(nil, graphNode, nodeMessage(op, defaultDomain, inputs, output, attrs...))
}

// attribute is an AttributeProto; kind is its AttributeType.
func attribute(name string, kind int64, content []byte) []byte {
	a := message(nil, attrName, []byte(name))
	a = append(a, content...)
	return number(a, attrType, kind)
}

// reshape appends two nodes: a constant with the wanted shape and a Reshape to
// it. A constant rather than an initializer, since old files have to list
// initializers among the inputs.
func reshape(from, to, shapeName string, shape []int64) []byte {
	t := number(nil, tensorDims, int64(len(shape)))
	t = number(t, tensorDataType, elemInt64)
	var raw []byte
	for _, d := range shape {
		raw = protowire.AppendFixed64(raw, uint64(d)) //nolint:gosec // small and positive
	}
	t = message(t, tensorRaw, raw)
	const kindTensorAttr = 4
	constant := nodeProto("Constant", nil, shapeName, attribute("value", kindTensorAttr, message(nil, attrTensor, t)))
	return append(constant, nodeProto("Reshape", []string{from, shapeName}, to)...)
}
