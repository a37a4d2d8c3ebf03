package onnx

import (
	"errors"
	"fmt"
	"strconv"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/millrace/millrace/model"
)

// port is an input or output as the caller sees it, and as the session has it
// after the graph was changed.
type port struct {
	spec   model.Spec
	name   string // the session's name
	scalar bool   // the session has it as [1]: the binding has no tensors without dimensions
	half   bool   // the session has it as float32: the binding takes float16 for one byte an element
	labels []string
}

const (
	elemFloat   = 1
	elemInt64   = 7
	elemFloat16 = 10

	defaultDomain = ""
	mlDomain      = "ai.onnx.ml"
	addedOpset    = 13

	suffix = "/millrace" // of values that are added to the graph
)

// dtypeOf translates ONNX's element types, which the runtime numbers alike.
func dtypeOf(elem int32) (model.DType, bool) {
	known := [...]model.DType{
		1: model.Float32, 2: model.Uint8, 3: model.Int8, 4: model.Uint16, 5: model.Int16, 6: model.Int32,
		7: model.Int64, 8: model.String, 9: model.Bool, 10: model.Float16, 11: model.Float64, 12: model.Uint32, 13: model.Uint64,
	}
	if elem < 0 || int(elem) >= len(known) || known[elem] == model.Invalid {
		return model.Invalid, false
	}
	return known[elem], true
}

// elemName is what ONNX calls a type that is not one of ours.
func elemName(elem int32) string {
	names := map[int32]string{
		14: "complex64", 15: "complex128", 16: "bfloat16", 17: "float8e4m3fn", 18: "float8e4m3fnuz", 19: "float8e5m2", 20: "float8e5m2fnuz",
		21: "uint4", 22: "int4", 23: "float4e2m1",
	}
	if name, ok := names[elem]; ok {
		return name
	}
	return fmt.Sprintf("the ONNX element type %d", elem)
}

// elemOf is the inverse of dtypeOf.
func elemOf(d model.DType) int32 {
	for elem := int32(1); elem <= 13; elem++ {
		if known, _ := dtypeOf(elem); known == d {
			return elem
		}
	}
	return 0
}

// rewriter collects the changes of a graph.
type rewriter struct {
	replaced map[string][]byte // GraphProto fields to replace, by what they hold
	first    []byte            // nodes before all others
	last     []byte            // nodes after all others
}

// plan says what the model takes and gives, and how the graph has to change so
// that the binding can carry it. The returned bytes are nil when nothing has to
// change.
func (g *graph) plan(data []byte) (ins, outs []port, changed []byte, err error) {
	rw := &rewriter{replaced: map[string][]byte{}}
	for _, v := range g.inputs {
		p, err := rw.input(v)
		if err != nil {
			return nil, nil, nil, err
		}
		ins = append(ins, p)
	}
	for _, v := range g.outputs {
		p, err := rw.output(g, v)
		if err != nil {
			return nil, nil, nil, err
		}
		outs = append(outs, p)
	}
	if len(rw.replaced) == 0 {
		return ins, outs, nil, nil
	}
	changed, err = rw.apply(data, g.body)
	return ins, outs, changed, err
}

func (rw *rewriter) input(v value) (port, error) {
	p, err := newPort("input", v)
	if err != nil || !p.scalar {
		return p, err
	}
	p.name = v.name + suffix
	rw.replaced[string(v.raw)] = valueProto(p.name, v.elem, []int64{1})
	rw.first = append(rw.first, reshape(p.name, v.name, v.name+suffix+".shape", nil)...)
	return p, nil
}

func (rw *rewriter) output(g *graph, v value) (port, error) {
	switch {
	case v.kind == kindSequence && v.item == kindTensor:
		v = rw.stack(g, v)
	case v.kind != kindTensor:
		return rw.zipMap(g, v)
	}
	p, err := newPort("output", v)
	if err != nil {
		return p, err
	}
	if v.made != "" {
		p.name = v.made
	}
	p.half = p.spec.DType == model.Float16
	elem, shape := v.elem, v.shape
	if p.half {
		elem = elemFloat
		cast := attribute("to", 2, protowire.AppendVarint(protowire.AppendTag(nil, attrInt, protowire.VarintType), elemFloat))
		rw.last = append(rw.last, nodeProto("Cast", []string{p.name}, p.name+suffix, cast)...)
		p.name += suffix
	}
	if p.scalar {
		shape = []int64{1}
		rw.last = append(rw.last, reshape(p.name, p.name+suffix, p.name+suffix+".shape", []int64{1})...)
		p.name += suffix
	}
	if p.name != v.name {
		rw.replaced[string(v.raw)] = valueProto(p.name, elem, shape)
	}
	return p, nil
}

// stack makes a sequence of tensors, as classifiers of several labels give, one
// tensor, of one more dimension in front: what numpy makes of it, and JSON the
// same. Tensors of different shapes fail the call.
func (rw *rewriter) stack(g *graph, v value) value {
	n := int64(-1)
	if made := g.producer[v.name]; made.op == "SequenceConstruct" && made.domain == defaultDomain {
		n = int64(len(made.inputs))
	}
	const kindIntAttr = 2
	number := func(name string, i uint64) []byte {
		return attribute(name, kindIntAttr, protowire.AppendVarint(protowire.AppendTag(nil, attrInt, protowire.VarintType), i))
	}
	v.made = v.name + suffix + ".stack"
	rw.last = append(rw.last, nodeProto("ConcatFromSequence", []string{v.name}, v.made, number("axis", 0), number("new_axis", 1))...)
	v.kind = kindTensor
	if v.shape != nil {
		v.shape = append([]int64{n}, v.shape...)
	}
	return v
}

// zipMap puts the tensor that feeds a ZipMap in its place.
func (rw *rewriter) zipMap(g *graph, v value) (port, error) {
	n, ok := g.producer[v.name]
	if !ok || n.op != "ZipMap" || n.domain != mlDomain || len(n.inputs) != 1 {
		return port{}, fmt.Errorf("output %q is %s: only tensors are supported, sequences of tensors, and sequences of maps when a ZipMap makes them", v.name, v.describe())
	}
	labels, err := zipMapLabels(n)
	if err != nil {
		return port{}, fmt.Errorf("output %q: %w", v.name, err)
	}
	rw.replaced[string(n.raw)] = nodeMessage("Identity", defaultDomain, n.inputs, v.name)
	rw.replaced[string(v.raw)] = valueProto(v.name, elemFloat, nil)
	return port{
		spec:   model.Spec{Name: v.name, DType: model.Float32, Shape: []int64{-1, int64(len(labels))}},
		name:   v.name,
		labels: labels,
	}, nil
}

func zipMapLabels(n node) ([]string, error) {
	var labels []string
	for _, attr := range n.attrs {
		var numbers []int64
		err := eachField(attr, func(f field) (err error) {
			switch f.num {
			case attrStrings:
				labels = append(labels, string(f.bytes))
			case attrInts:
				numbers, err = f.ints(numbers)
			}
			return err
		})
		if err != nil {
			return nil, err
		}
		for _, i := range numbers {
			labels = append(labels, strconv.FormatInt(i, 10))
		}
	}
	if len(labels) == 0 {
		return nil, errors.New("its ZipMap has no class labels")
	}
	return labels, nil
}

func newPort(what string, v value) (port, error) {
	if v.kind != kindTensor {
		return port{}, fmt.Errorf("%s %q is %s: only tensors are supported", what, v.name, v.describe())
	}
	d, ok := dtypeOf(v.elem)
	if !ok {
		return port{}, fmt.Errorf("%s %q is of %s, which is not supported", what, v.name, elemName(v.elem))
	}
	return port{
		spec:   model.Spec{Name: v.name, DType: d, Shape: v.shape},
		name:   v.name,
		scalar: v.shape != nil && len(v.shape) == 0,
	}, nil
}

// apply writes the model anew: fields in their order, those that changed
// replaced.
func (rw *rewriter) apply(data, body []byte) ([]byte, error) {
	graphMsg := append(make([]byte, 0, len(body)+1024), rw.first...)
	err := eachField(body, func(f field) error {
		if f.num == graphNode || f.num == graphInput || f.num == graphOutput {
			if msg, ok := rw.replaced[string(f.bytes)]; ok {
				graphMsg = message(graphMsg, protowire.Number(f.num), msg) //nolint:gosec // read from a tag
				return nil
			}
		}
		graphMsg = append(graphMsg, f.raw...)
		return nil
	})
	if err != nil {
		return nil, err
	}
	graphMsg = append(graphMsg, rw.last...)

	out := make([]byte, 0, len(data)+len(graphMsg)-len(body)+64)
	hasOpset := false
	err = eachField(data, func(f field) error {
		switch f.num {
		case modelGraph:
			out = message(out, modelGraph, graphMsg)
			return nil
		case modelOpset:
			domain, err := opsetOf(f.bytes)
			if err != nil {
				return err
			}
			hasOpset = hasOpset || domain == defaultDomain || domain == "ai.onnx"
		}
		out = append(out, f.raw...)
		return nil
	})
	if err == nil && !hasOpset {
		msg := protowire.AppendTag(nil, opsetVersion, protowire.VarintType)
		out = message(out, modelOpset, protowire.AppendVarint(msg, addedOpset))
	}
	return out, err
}

func opsetOf(msg []byte) (domain string, err error) {
	err = eachField(msg, func(f field) error {
		if f.num == opsetDomain {
			domain = string(f.bytes)
		}
		return nil
	})
	return domain, err
}
