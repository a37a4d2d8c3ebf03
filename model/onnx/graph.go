package onnx

import (
	"errors"
	"fmt"
	"strconv"

	"google.golang.org/protobuf/encoding/protowire"
)

// graph is what has to be known of a model file before the runtime opens it.
type graph struct {
	inputs   []value // those that have to be fed: no initializer stands in for them
	outputs  []value
	producer map[string]node // the node that makes a value, by the value's name; the top graph's only
	external []external
	body     []byte // GraphProto
}

// external is a part of a file beside the model that holds a tensor's data.
type external struct {
	tensor   string
	location string
	offset   int64
	length   int64 // 0: up to the end of the file
}

// parseModel reads a model file. It keeps slices of data.
func parseModel(data []byte) (*graph, error) {
	g := &graph{producer: map[string]node{}}
	hasGraph := false
	err := eachField(data, func(f field) error {
		switch {
		case f.num == modelGraph && f.typ == protowire.BytesType:
			hasGraph, g.body = true, f.bytes
			return g.parseTop(f.bytes)
		case f.num == modelFunctions:
			return g.walkFunction(f.bytes)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if !hasGraph {
		return nil, errors.New("not an ONNX model: it holds no graph")
	}
	if len(g.outputs) == 0 {
		return nil, errors.New("the model has no outputs")
	}
	return g, nil
}

func (g *graph) parseTop(msg []byte) error {
	initialized := map[string]bool{}
	var inputs []value
	err := eachField(msg, func(f field) error {
		switch f.num {
		case graphInput, graphOutput:
			v, err := parseValue(f.bytes)
			if err != nil {
				return err
			}
			if f.num == graphInput {
				inputs = append(inputs, v)
			} else {
				g.outputs = append(g.outputs, v)
			}
		case graphInitializer:
			name, err := g.walkTensor(f.bytes)
			if err != nil {
				return err
			}
			initialized[name] = true
		case graphSparse:
			return g.walkSparse(f.bytes)
		case graphNode:
			n, err := parseNode(f.bytes)
			if err != nil {
				return err
			}
			for _, out := range n.outputs {
				g.producer[out] = n
			}
			return g.walkAttrs(n.attrs, 0)
		}
		return nil
	})
	for _, in := range inputs {
		if !initialized[in.name] {
			g.inputs = append(g.inputs, in)
		}
	}
	return err
}

// walkGraph collects the external data of a subgraph.
func (g *graph) walkGraph(msg []byte, depth int) error {
	if depth > maxNesting {
		return fmt.Errorf("the model nests graphs more than %d deep", maxNesting)
	}
	return eachField(msg, func(f field) error {
		switch f.num {
		case graphInitializer:
			_, err := g.walkTensor(f.bytes)
			return err
		case graphSparse:
			return g.walkSparse(f.bytes)
		case graphNode:
			return g.walkNode(f.bytes, depth)
		}
		return nil
	})
}

func (g *graph) walkFunction(msg []byte) error {
	return eachField(msg, func(f field) error {
		if f.num != funcNode {
			return nil
		}
		return g.walkNode(f.bytes, 0)
	})
}

func (g *graph) walkNode(msg []byte, depth int) error {
	n, err := parseNode(msg)
	if err != nil {
		return err
	}
	return g.walkAttrs(n.attrs, depth)
}

func (g *graph) walkAttrs(attrs [][]byte, depth int) error {
	for _, attr := range attrs {
		err := eachField(attr, func(f field) error {
			switch f.num {
			case attrTensor, attrTensors:
				_, err := g.walkTensor(f.bytes)
				return err
			case attrSparse, attrSparses:
				return g.walkSparse(f.bytes)
			case attrGraph, attrGraphs:
				return g.walkGraph(f.bytes, depth+1)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (g *graph) walkSparse(msg []byte) error {
	return eachField(msg, func(f field) error {
		if f.num != sparseValues && f.num != sparseIndices {
			return nil
		}
		_, err := g.walkTensor(f.bytes)
		return err
	})
}

// walkTensor returns the tensor's name and notes where its data lies if that is
// outside the model file. The entries count even when data_location is not
// set: it is the runtime that reads them, so whatever it might read is checked.
func (g *graph) walkTensor(msg []byte) (string, error) {
	var e external
	has := false
	err := eachField(msg, func(f field) error {
		switch f.num {
		case tensorName:
			e.tensor = string(f.bytes)
		case tensorExternal:
			has = true
			return e.parseEntry(f.bytes)
		}
		return nil
	})
	if err != nil {
		return "", fmt.Errorf("tensor %q: %w", e.tensor, err)
	}
	if has {
		g.external = append(g.external, e)
	}
	return e.tensor, nil
}

func (e *external) parseEntry(msg []byte) error {
	var key, val string
	err := eachField(msg, func(f field) error {
		switch f.num {
		case entryKey:
			key = string(f.bytes)
		case entryValue:
			val = string(f.bytes)
		}
		return nil
	})
	if err != nil {
		return err
	}
	switch key {
	case "location":
		e.location = val
	case "offset":
		e.offset, err = parseSize(key, val)
	case "length":
		e.length, err = parseSize(key, val)
	}
	return err
}

func parseSize(key, val string) (int64, error) {
	n, err := strconv.ParseInt(val, 10, 64)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("external data's %s is %q, not a size", key, val)
	}
	return n, nil
}
