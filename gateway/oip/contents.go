package oip

import (
	"errors"
	"fmt"
	"math"

	"google.golang.org/protobuf/encoding/protowire"
)

// contentsField is the field of InferTensorContents that holds a datatype's elements, and
// how they become bytes.
type contentsField struct {
	number protowire.Number
	size   int    // bytes an element; 0: a length and as many bytes
	fixed  bool   // on the wire as they are
	least  int64  // of a narrow integer
	most   uint64 // likewise
}

// contentsOf is by the table of the protocol: FP16 has no contents.
func contentsOf(datatype string) (contentsField, error) {
	switch datatype {
	case "BOOL":
		return contentsField{number: 1, size: 1, most: 1}, nil
	case "INT8":
		return contentsField{number: 2, size: 1, least: math.MinInt8, most: math.MaxInt8}, nil
	case "INT16":
		return contentsField{number: 2, size: 2, least: math.MinInt16, most: math.MaxInt16}, nil
	case "INT32":
		return contentsField{number: 2, size: 4, least: math.MinInt32, most: math.MaxInt32}, nil
	case "INT64":
		return contentsField{number: 3, size: 8, least: math.MinInt64, most: math.MaxInt64}, nil
	case "UINT8":
		return contentsField{number: 4, size: 1, most: math.MaxUint8}, nil
	case "UINT16":
		return contentsField{number: 4, size: 2, most: math.MaxUint16}, nil
	case "UINT32":
		return contentsField{number: 4, size: 4, most: math.MaxUint32}, nil
	case "UINT64":
		return contentsField{number: 5, size: 8, most: math.MaxUint64}, nil
	case "FP32":
		return contentsField{number: 6, size: 4, fixed: true}, nil
	case "FP64":
		return contentsField{number: 7, size: 8, fixed: true}, nil
	case "BYTES":
		return contentsField{number: 8}, nil
	case "FP16":
		return contentsField{}, errors.New("FP16 is sent as raw_input_contents")
	}
	return contentsField{}, fmt.Errorf("unknown datatype %q", datatype)
}

// measure checks the contents and returns how many bytes they become.
func (in *input) measure() (int, error) {
	f, err := contentsOf(string(in.datatype))
	if err != nil {
		return 0, err
	}
	size := 0
	err = in.each(f, func(b []byte, v uint64) error {
		switch {
		case f.size == 0:
			size += 4 + len(b)
		case b != nil: // packed, and fixed
			if len(b)%f.size != 0 {
				return errWire
			}
			size += len(b)
		case !f.fixed && !f.holds(v):
			return fmt.Errorf("%d is out of the range of %s", int64(v), in.datatype) //nolint:gosec // for people
		default:
			size += f.size
		}
		return nil
	})
	return size, err
}

func (f *contentsField) holds(v uint64) bool {
	if f.least < 0 {
		return int64(v) >= f.least && int64(v) <= int64(f.most) //nolint:gosec // as protobuf has negative numbers
	}
	return v <= f.most
}

// each calls with every element, or with the bytes of many where they are on the wire as
// they are to be.
func (in *input) each(f contentsField, call func(b []byte, v uint64) error) error {
	return fields(in.contents, func(n protowire.Number, kind protowire.Type, b []byte, v uint64) error {
		switch {
		case n != f.number:
			return fmt.Errorf("contents are not those of datatype %s", in.datatype)
		case f.size == 0 || f.fixed && kind == protowire.BytesType:
			if kind != protowire.BytesType {
				return errWire
			}
			return call(b, 0)
		case kind == protowire.BytesType:
			var bad error
			err := packed(b, func(v uint64) {
				if bad == nil {
					bad = call(nil, v)
				}
			})
			return errors.Join(err, bad)
		case f.fixed && kind != map[int]protowire.Type{4: protowire.Fixed32Type, 8: protowire.Fixed64Type}[f.size]:
			return errWire
		case !f.fixed && kind != protowire.VarintType:
			return errWire
		}
		return call(nil, v)
	})
}

// append writes the elements, which were measured.
func (in *input) append(dst []byte) []byte {
	f, _ := contentsOf(string(in.datatype))
	_ = in.each(f, func(b []byte, v uint64) error {
		switch f.size {
		case 0:
			dst = append(little.AppendUint32(dst, uint32(len(b))), b...) //nolint:gosec // of a message, which is smaller
		case 1:
			dst = append(dst, byte(v)) //nolint:gosec // in range
		case 2:
			dst = little.AppendUint16(dst, uint16(v)) //nolint:gosec // likewise
		case 4:
			if b != nil {
				dst = append(dst, b...)
			} else {
				dst = little.AppendUint32(dst, uint32(v)) //nolint:gosec // likewise
			}
		case 8:
			if b != nil {
				dst = append(dst, b...)
			} else {
				dst = little.AppendUint64(dst, v)
			}
		}
		return nil
	})
	return dst
}
