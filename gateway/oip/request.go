package oip

import (
	"errors"
	"fmt"
	"math"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

// Numbers of ModelInferRequest's fields, and of those inside.
const (
	requestModel, requestVersion, requestID, requestParameters = 1, 2, 3, 4
	requestInputs, requestOutputs, requestRaw                  = 5, 6, 7

	tensorName, tensorType, tensorShape, tensorParameters, tensorContents = 1, 2, 3, 4, 5

	outputName, outputParameters = 1, 2
)

// Inference is a ModelInferRequest as it goes to a worker.
type Inference struct {
	Model   string
	Version string // "" is the one that the name stands for
	Timeout time.Duration
	Body    []byte // JSON, and the tensors behind it
	Head    int    // how many bytes of Body are JSON
}

// errWire is a message that is no protobuf.
var errWire = errors.New("the message is no valid ModelInferRequest")

// request is what is read of one, before it is written.
type request struct {
	Inference
	id      []byte
	inputs  []input
	outputs [][]byte // names
	raw     [][]byte
}

// input is a tensor whose elements are in contents, or else in raw.
type input struct {
	name, datatype []byte
	shape          []int64
	contents       []byte // InferTensorContents
	size           int    // bytes of the elements behind the JSON
}

// ParseRequest reads a ModelInferRequest from the wire. The body is memory of its own.
func ParseRequest(message []byte) (*Inference, error) {
	var r request
	err := fields(message, func(n protowire.Number, kind protowire.Type, b []byte, _ uint64) (err error) {
		if kind != protowire.BytesType {
			return nil
		}
		switch n { //nolint:exhaustive // numbers of protobuf's own
		case requestModel:
			r.Model = string(b)
		case requestVersion:
			r.Version = string(b)
		case requestID:
			r.id = b
		case requestParameters:
			err = r.parameter(b)
		case requestInputs:
			var in input
			in, err = parseInput(b)
			r.inputs = append(r.inputs, in)
		case requestOutputs:
			var name []byte
			name, err = parseOutput(b)
			r.outputs = append(r.outputs, name)
		case requestRaw:
			r.raw = append(r.raw, b)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	if err := r.measure(); err != nil {
		return nil, err
	}
	r.write()
	return &r.Inference, nil
}

// fields calls each with every field of a message: bytes of the kinds that have a length,
// the number of the others.
func fields(message []byte, each func(n protowire.Number, kind protowire.Type, b []byte, v uint64) error) error {
	for len(message) > 0 {
		n, kind, size := protowire.ConsumeTag(message)
		if size < 0 {
			return errWire
		}
		message = message[size:]
		var b []byte
		var v uint64
		switch kind { //nolint:exhaustive // the default is groups
		case protowire.BytesType:
			b, size = protowire.ConsumeBytes(message)
		case protowire.VarintType:
			v, size = protowire.ConsumeVarint(message)
		case protowire.Fixed64Type:
			v, size = protowire.ConsumeFixed64(message)
		case protowire.Fixed32Type:
			var f uint32
			f, size = protowire.ConsumeFixed32(message)
			v = uint64(f)
		default:
			size = protowire.ConsumeFieldValue(n, kind, message)
		}
		if size < 0 {
			return errWire
		}
		message = message[size:]
		if err := each(n, kind, b, v); err != nil {
			return err
		}
	}
	return nil
}

// parameter reads an entry of a map of parameters: of a request, the timeout counts.
func (r *request) parameter(entry []byte) error {
	key, value, err := keyed(entry)
	if err != nil || key != "timeout" {
		return err
	}
	return fields(value, func(n protowire.Number, kind protowire.Type, _ []byte, v uint64) error {
		const int64Param, uint64Param = 2, 5
		if kind != protowire.VarintType || n != int64Param && n != uint64Param {
			return nil
		}
		const most = uint64(math.MaxInt64 / int64(time.Microsecond))
		if n == int64Param && v > math.MaxInt64 { // below 0
			return nil
		}
		r.Timeout = time.Duration(min(v, most)) * time.Microsecond
		return nil
	})
}

// keyed splits an entry of a map.
func keyed(entry []byte) (key string, value []byte, err error) {
	err = fields(entry, func(n protowire.Number, kind protowire.Type, b []byte, _ uint64) error {
		switch {
		case kind != protowire.BytesType:
		case n == 1:
			key = string(b)
		case n == 2:
			value = b
		}
		return nil
	})
	return key, value, err
}

// refuseParameter refuses what would otherwise be answered wrongly.
func refuseParameter(entry []byte) error {
	key, _, err := keyed(entry)
	switch {
	case err != nil:
		return err
	case key == "shared_memory_region", key == "classification":
		return fmt.Errorf("%s is not served", key)
	}
	return nil
}

func parseInput(b []byte) (in input, err error) {
	err = fields(b, func(n protowire.Number, kind protowire.Type, b []byte, v uint64) error {
		switch {
		case n == tensorShape && kind == protowire.VarintType:
			in.shape = append(in.shape, int64(v)) //nolint:gosec // as protobuf has it
		case kind != protowire.BytesType:
		case n == tensorName:
			in.name = b
		case n == tensorType:
			in.datatype = b
		case n == tensorShape:
			return packed(b, func(v uint64) { in.shape = append(in.shape, int64(v)) }) //nolint:gosec // likewise
		case n == tensorParameters:
			return refuseParameter(b)
		case n == tensorContents:
			in.contents = b
		}
		return nil
	})
	return in, err
}

func packed(b []byte, each func(uint64)) error {
	for len(b) > 0 {
		v, size := protowire.ConsumeVarint(b)
		if size < 0 {
			return errWire
		}
		each(v)
		b = b[size:]
	}
	return nil
}

func parseOutput(b []byte) (name []byte, err error) {
	err = fields(b, func(n protowire.Number, kind protowire.Type, b []byte, _ uint64) error {
		switch {
		case kind != protowire.BytesType:
		case n == outputName:
			name = b
		case n == outputParameters:
			return refuseParameter(b)
		}
		return nil
	})
	return name, err
}

// measure finds out how many bytes each input has.
func (r *request) measure() error {
	if len(r.raw) > 0 && len(r.raw) != len(r.inputs) {
		return fmt.Errorf("%d raw_input_contents for %d inputs", len(r.raw), len(r.inputs))
	}
	for i := range r.inputs {
		in := &r.inputs[i]
		switch {
		case len(r.raw) == 0:
			size, err := in.measure()
			if err != nil {
				return fmt.Errorf("input %q: %w", in.name, err)
			}
			in.size = size
		case len(in.contents) > 0:
			return fmt.Errorf("input %q: both contents and raw_input_contents", in.name)
		default:
			in.size = len(r.raw[i])
		}
	}
	return nil
}
