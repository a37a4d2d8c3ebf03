package model

import (
	"fmt"
	"math"
)

// array is an array as numpy has it: cells of one type, in row-major order.
// Cells of a numeric type hold values that the type can hold.
type array struct {
	dtype DType
	shape []int64
	cells []value
}

// maxDims is the most dimensions that numpy's arrays have.
const maxDims = 64

// newArray is np.array(v, want): the type is inferred when want is Invalid.
// path names v in errors. v's cells are not shared.
func newArray(v *value, want DType, path string) (array, *Error) {
	a := array{shape: shapeOf(v)}
	if len(a.shape) > maxDims {
		return a, Invalidf(path, "nested deeper than %d dimensions", maxDims)
	}
	if err := a.collect(v, 0, path); err != nil {
		return a, err
	}
	if a.dtype = want; want == Invalid {
		a.dtype = inferArray(a.cells)
	}
	if err := a.castCells(path); err != nil {
		return a, err
	}
	return a, nil
}

// shapeOf follows the first items down.
func shapeOf(v *value) []int64 {
	shape := []int64{}
	for v.kind == list {
		shape = append(shape, int64(len(v.items)))
		if len(v.items) == 0 {
			break
		}
		v = &v.items[0]
	}
	return shape
}

// collect gathers the cells and holds every list against the shape.
func (a *array) collect(v *value, depth int, path string) *Error {
	if depth == len(a.shape) {
		if v.kind == list {
			return Invalidf(path, "a list, where its neighbours are single values")
		}
		a.cells = append(a.cells, *v)
		return nil
	}
	if v.kind != list {
		return Invalidf(path, "%s, where its neighbours are lists", v.describe())
	}
	if int64(len(v.items)) != a.shape[depth] {
		return Invalidf(path, "%d items, where its neighbours have %d", len(v.items), a.shape[depth])
	}
	for i := range v.items {
		if err := a.collect(&v.items[i], depth+1, path); err != nil {
			err.Field = insertIndex(err.Field, path, i)
			return err
		}
	}
	return nil
}

// insertIndex puts an index behind path, of which field is a continuation.
func insertIndex(field, path string, i int) string {
	return fmt.Sprintf("%s[%d]%s", path, i, field[len(path):])
}

// at is the field's name of cell i.
func (a *array) at(path string, i int) string {
	for d := range a.shape {
		n := 1
		for _, m := range a.shape[d+1:] {
			n *= int(m)
		}
		path = fmt.Sprintf("%s[%d]", path, i/n)
		i %= n
	}
	return path
}

// castCells makes every cell one of the array's type.
func (a *array) castCells(path string) *Error {
	for i := range a.cells {
		if err := a.cells[i].cast(a.dtype); err != nil {
			return Invalidf(a.at(path, i), "%w", err)
		}
	}
	return nil
}

// cast is what becomes of a Python value that is put into an array of type t.
func (v *value) cast(t DType) error {
	switch classOf(t) { //nolint:exhaustive // the others make objects
	case boolClass:
		*v = boolValue(v.toBool())
	case signedClass, unsignedClass:
		i, err := v.toInt()
		if err != nil {
			return err
		}
		if !holds(t, &i) {
			return fmt.Errorf("%s is out of the range of %s", i.toString(), t)
		}
		*v = i
	case floatClass:
		f, err := v.toFloat()
		if err != nil {
			return err
		}
		*v = floatValue(roundTo(t, f))
	default:
		return v.castOther(t)
	}
	return nil
}

func (v *value) castOther(t DType) error {
	switch t { //nolint:exhaustive // the others hold anything
	case String:
		if v.kind != text {
			*v = textValue(v.toString())
		}
	case bytesType:
		s := v.toString()
		for i := range len(s) {
			if s[i] >= 0x80 {
				return fmt.Errorf("%s is not ASCII", v.describe())
			}
		}
		*v = value{kind: blob, text: s}
	case timeType:
		return v.castTime()
	}
	return nil
}

// holds says whether an integer type has a value of kind integer or natural.
func holds(t DType, v *value) bool {
	if v.kind == natural {
		return t == Uint64
	}
	i, bits := v.int(), 8*t.Size()
	if classOf(t) == unsignedClass {
		return i >= 0 && (bits == 64 || i < 1<<bits)
	}
	return bits == 64 || i >= -1<<(bits-1) && i < 1<<(bits-1)
}

// roundTo is the nearest number of a float type.
func roundTo(t DType, f float64) float64 {
	switch t { //nolint:exhaustive // a float64 stays what it is
	case Float32:
		return float64(float32(f))
	case Float16:
		return halfFloat(halfBits(f))
	default:
		return f
	}
}

// wrap keeps the low bits of an integer, as numpy converts between widths.
func wrap(t DType, v *value) value {
	switch t { //nolint:exhaustive // 64 bits stay
	case Int8:
		return intValue(int64(int8(v.bits))) //nolint:gosec // that is the point
	case Int16:
		return intValue(int64(int16(v.bits))) //nolint:gosec // likewise
	case Int32:
		return intValue(int64(int32(v.bits))) //nolint:gosec // likewise
	case Uint8, Uint16, Uint32:
		return intValue(int64(v.bits & (1<<(8*t.Size()) - 1))) //nolint:gosec // less than 64 bits
	case Uint64:
		if v.bits > math.MaxInt64 {
			return value{kind: natural, bits: v.bits}
		}
	}
	return value{kind: integer, bits: v.bits}
}

// rows is the length of the first dimension, 1 for a scalar.
func (a *array) rows() int {
	if len(a.shape) == 0 {
		return 1
	}
	return int(a.shape[0])
}

// nested is a.tolist(): the array as lists.
func (a *array) nested() value {
	if len(a.shape) == 0 {
		return a.cells[0]
	}
	cells := a.cells
	var build func(d int) value
	build = func(d int) value {
		v := value{kind: list, items: make([]value, a.shape[d])}
		for i := range v.items {
			if d == len(a.shape)-1 {
				v.items[i], cells = cells[0], cells[1:]
			} else {
				v.items[i] = build(d + 1)
			}
		}
		return v
	}
	return build(0)
}
