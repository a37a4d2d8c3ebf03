package onnx

import (
	"errors"
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
)

// Field numbers of onnx.proto, those that are read or written here.
const (
	modelGraph     = 7
	modelOpset     = 8
	modelFunctions = 25

	graphNode        = 1
	graphInitializer = 5
	graphInput       = 11
	graphOutput      = 12
	graphSparse      = 15

	nodeInput  = 1
	nodeOutput = 2
	nodeName   = 3
	nodeOpType = 4
	nodeAttr   = 5
	nodeDomain = 7

	funcNode = 7

	attrName    = 1
	attrInt     = 3
	attrTensor  = 5
	attrGraph   = 6
	attrInts    = 8
	attrStrings = 9
	attrTensors = 10
	attrGraphs  = 11
	attrSparse  = 22
	attrSparses = 23
	attrType    = 20

	tensorDims     = 1
	tensorDataType = 2
	tensorName     = 8
	tensorRaw      = 9
	tensorExternal = 13
	tensorLocation = 14

	sparseValues  = 1
	sparseIndices = 2

	valueName = 1
	valueType = 2

	typeTensor   = 1
	typeSequence = 4
	typeMap      = 5
	typeSparse   = 8
	typeOptional = 9

	sequenceItem = 1

	tensorTypeElem  = 1
	tensorTypeShape = 2

	shapeDim = 1
	dimValue = 1
	dimParam = 2

	opsetDomain  = 1
	opsetVersion = 2

	entryKey   = 1
	entryValue = 2
)

// maxNesting bounds subgraphs within subgraphs, so that a hostile file cannot
// exhaust the stack.
const maxNesting = 64

var errMalformed = errors.New("not an ONNX model: malformed protobuf")

// field is one field of a message: bytes for length-delimited ones, number for
// the others.
type field struct {
	num    int
	typ    protowire.Type
	bytes  []byte
	number uint64
	raw    []byte // tag and value
}

// eachField calls f for every field of a message.
func eachField(msg []byte, f func(field) error) error {
	for len(msg) > 0 {
		num, typ, n := protowire.ConsumeTag(msg)
		if n < 0 {
			return errMalformed
		}
		fd := field{num: int(num), typ: typ}
		var m int
		switch typ { //nolint:exhaustive // no field of the other types is read
		case protowire.VarintType:
			fd.number, m = protowire.ConsumeVarint(msg[n:])
		case protowire.BytesType:
			fd.bytes, m = protowire.ConsumeBytes(msg[n:])
		default:
			m = protowire.ConsumeFieldValue(num, typ, msg[n:])
		}
		if m < 0 {
			return errMalformed
		}
		fd.raw = msg[:n+m]
		msg = msg[n+m:]
		if err := f(fd); err != nil {
			return err
		}
	}
	return nil
}

// ints reads one field of a repeated int64, packed or not.
func (f field) ints(dst []int64) ([]int64, error) {
	if f.typ != protowire.BytesType {
		return append(dst, int64(f.number)), nil //nolint:gosec // two's complement is protobuf's int64
	}
	for b := f.bytes; len(b) > 0; {
		v, n := protowire.ConsumeVarint(b)
		if n < 0 {
			return nil, errMalformed
		}
		dst = append(dst, int64(v)) //nolint:gosec // two's complement is protobuf's int64
		b = b[n:]
	}
	return dst, nil
}

// node is an operation of a graph.
type node struct {
	op, domain string
	inputs     []string
	outputs    []string
	attrs      [][]byte
	raw        []byte
}

func parseNode(msg []byte) (node, error) {
	n := node{raw: msg}
	err := eachField(msg, func(f field) error {
		switch f.num {
		case nodeInput:
			n.inputs = append(n.inputs, string(f.bytes))
		case nodeOutput:
			n.outputs = append(n.outputs, string(f.bytes))
		case nodeOpType:
			n.op = string(f.bytes)
		case nodeDomain:
			n.domain = string(f.bytes)
		case nodeAttr:
			n.attrs = append(n.attrs, f.bytes)
		}
		return nil
	})
	return n, err
}

// valueKind is what sort of value an input or output is.
type valueKind string

const (
	kindTensor   valueKind = "tensor"
	kindSequence valueKind = "sequence"
	kindMap      valueKind = "map"
	kindSparse   valueKind = "sparse tensor"
	kindOptional valueKind = "optional"
	kindUnknown  valueKind = "value of unknown type"
)

// value is a declared input or output of a graph.
type value struct {
	name   string
	kind   valueKind
	item   valueKind // of a sequence: what its elements are
	elem   int32
	shape  []int64  // -1: variable; nil: the rank is not declared
	params []string // a dimension's symbol, "" for a fixed one
	made   string   // the value that stands in for it in the changed graph, "" for itself
	raw    []byte
}

func (v value) describe() string {
	switch {
	case v.kind == kindOptional:
		return "an optional"
	case v.kind == kindSequence && v.item != "":
		return "a sequence of " + string(v.item) + "s"
	}
	return "a " + string(v.kind)
}

func parseValue(msg []byte) (value, error) {
	v := value{kind: kindUnknown, raw: msg}
	err := eachField(msg, func(f field) error {
		switch f.num {
		case valueName:
			v.name = string(f.bytes)
		case valueType:
			return v.parseType(f.bytes)
		}
		return nil
	})
	if err != nil {
		return v, fmt.Errorf("value %q: %w", v.name, err)
	}
	return v, nil
}

func (v *value) parseType(msg []byte) error {
	return eachField(msg, func(f field) error {
		switch f.num {
		case typeTensor:
			v.kind = kindTensor
			return v.parseTensorType(f.bytes)
		case typeSequence:
			v.kind = kindSequence
			return v.parseItem(f.bytes)
		case typeMap:
			v.kind = kindMap
		case typeSparse:
			v.kind = kindSparse
		case typeOptional:
			v.kind = kindOptional
		}
		return nil
	})
}

// parseItem reads what a sequence is of; elem and shape are its tensors'.
func (v *value) parseItem(msg []byte) error {
	item := value{kind: kindUnknown}
	err := eachField(msg, func(f field) error {
		if f.num != sequenceItem {
			return nil
		}
		return item.parseType(f.bytes)
	})
	v.item, v.elem, v.shape = item.kind, item.elem, item.shape
	return err
}

func (v *value) parseTensorType(msg []byte) error {
	return eachField(msg, func(f field) error {
		switch f.num {
		case tensorTypeElem:
			v.elem = int32(f.number) //nolint:gosec // an enum; unknown ones are refused later
		case tensorTypeShape:
			v.shape = []int64{}
			return eachField(f.bytes, func(d field) error {
				if d.num != shapeDim {
					return nil
				}
				return v.parseDim(d.bytes)
			})
		}
		return nil
	})
}

func (v *value) parseDim(msg []byte) error {
	size, param := int64(-1), ""
	err := eachField(msg, func(f field) error {
		switch f.num {
		case dimValue:
			size = int64(f.number) //nolint:gosec // two's complement is protobuf's int64
		case dimParam:
			size, param = -1, string(f.bytes)
		}
		return nil
	})
	if size < 0 {
		size = -1
	}
	v.shape = append(v.shape, size)
	v.params = append(v.params, param)
	return err
}
