package model

import (
	"errors"
	"math"
	"math/rand/v2"
	"strconv"
	"time"
)

// Random returns the body of a request of the signature's inputs, of rows rows where
// a dimension is open, with values drawn from rng: the same rng gives the same
// bodies. It is in MLflow's dialect: a data frame for columns, else tensors.
func (s *Signature) Random(rng *rand.Rand, rows int) ([]byte, error) {
	if s == nil || len(s.inputs) == 0 {
		return nil, errors.New("the signature has no inputs to draw values for")
	}
	d := &drawer{rng: rng, rows: int64(max(1, rows))}
	switch {
	case !s.inputs[0].tensor:
		d.frame(s.inputs)
	case !s.inputs[0].named:
		d.add(`{"inputs": `)
		d.tensor(s.inputs[0].dtype, d.sizes(s.inputs[0].shape))
		d.add("}")
	default:
		d.add(`{"inputs": {`)
		for i := range s.inputs {
			d.separate(i)
			d.dst = appendString(d.dst, s.inputs[i].name)
			d.add(": ")
			d.tensor(s.inputs[i].dtype, d.sizes(s.inputs[i].shape))
		}
		d.add("}}")
	}
	return d.dst, nil
}

// drawer writes JSON of drawn values.
type drawer struct {
	rng  *rand.Rand
	rows int64
	dst  []byte
}

func (d *drawer) add(text string) { d.dst = append(d.dst, text...) }

func (d *drawer) separate(i int) {
	if i > 0 {
		d.add(", ")
	}
}

// sizes opens the dimensions that a shape leaves open: the first is the rows, the
// others are 1.
func (d *drawer) sizes(shape []int64) []int64 {
	out := make([]int64, len(shape))
	for i, n := range shape {
		switch {
		case n >= 0:
			out[i] = n
		case i == 0:
			out[i] = d.rows
		default:
			out[i] = 1
		}
	}
	return out
}

func (d *drawer) frame(columns []field) {
	d.add(`{"dataframe_split": {`)
	if columns[0].named {
		d.add(`"columns": [`)
		for i := range columns {
			d.separate(i)
			d.dst = appendString(d.dst, columns[i].name)
		}
		d.add("], ")
	}
	d.add(`"data": [`)
	for r := range d.rows {
		d.separate(int(r))
		d.add("[")
		for i := range columns {
			d.separate(i)
			d.column(&columns[i].typ)
		}
		d.add("]")
	}
	d.add("]}}")
}

func (d *drawer) column(t *nestedType) {
	switch t.colType { //nolint:exhaustive // the others are single values
	case colDatetime:
		day := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(d.rng.IntN(365*24*3600)) * time.Second)
		d.dst = append(day.AppendFormat(append(d.dst, '"'), "2006-01-02T15:04:05"), '"')
	case colBinary:
		d.add(`"` + []string{"aGVsbG8=", "d29ybGQ=", "AAEC", ""}[d.rng.IntN(4)] + `"`)
	case colArray:
		d.add("[")
		for i := range 1 + d.rng.IntN(3) {
			d.separate(i)
			d.column(t.items)
		}
		d.add("]")
	case colMap:
		d.add(`{"a": `)
		d.column(t.items)
		d.add(`, "b": `)
		d.column(t.items)
		d.add("}")
	case colObject:
		d.add("{")
		for i := range t.props {
			d.separate(i)
			d.dst = appendString(d.dst, t.props[i].name)
			d.add(": ")
			d.column(&t.props[i].typ)
		}
		d.add("}")
	case colAny:
		d.value(Float64)
	default:
		d.value(t.dtype())
	}
}

func (d *drawer) tensor(t DType, shape []int64) {
	if len(shape) == 0 {
		d.value(t)
		return
	}
	d.add("[")
	for i := range shape[0] {
		d.separate(int(i))
		d.tensor(t, shape[1:])
	}
	d.add("]")
}

// value draws one: floats around 0, small whole numbers, short words.
func (d *drawer) value(t DType) {
	const digits, letters = 1e4, "abcdefghijklmnopqrstuvwxyz"
	switch classOf(t) { //nolint:exhaustive // the others are words
	case floatClass:
		d.dst = strconv.AppendFloat(d.dst, math.Round(d.rng.NormFloat64()*digits)/digits, 'g', -1, 64)
	case boolClass:
		d.dst = strconv.AppendBool(d.dst, d.rng.IntN(2) == 1)
	case signedClass, unsignedClass:
		d.dst = strconv.AppendInt(d.dst, d.rng.Int64N(10), 10)
	default:
		d.dst = append(d.dst, '"', letters[d.rng.IntN(len(letters))], letters[d.rng.IntN(len(letters))], '"')
	}
}
