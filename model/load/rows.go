package load

import (
	"math"
	"slices"
	"strconv"

	"github.com/millrace/millrace/model"
)

// clone copies tensors, whose memory may be a decoder's.
func clone(ts []model.Tensor) []model.Tensor {
	out := slices.Clone(ts)
	for i := range out {
		out[i].Shape = slices.Clone(out[i].Shape)
		out[i].Strings = slices.Clone(out[i].Strings)
		out[i].Data = aligned(out[i].Data)
	}
	return out
}

// aligned copies data to where a tensor may have it.
func aligned(data []byte) []byte {
	if data == nil {
		return nil
	}
	out := model.BytesOf(make([]uint64, (len(data)+7)/8))[:len(data)]
	copy(out, data)
	return out
}

// split cuts tensors that share their first dimension into rows, probeRows at
// most; none when they do not share it.
func split(ts []model.Tensor) [][]model.Tensor {
	n := int64(-1)
	for _, t := range ts {
		if len(t.Shape) == 0 || n >= 0 && t.Shape[0] != n {
			return nil
		}
		n = t.Shape[0]
	}
	var rows [][]model.Tensor
	for r := range min(n, probeRows) {
		row := slices.Clone(ts)
		for i, t := range ts {
			row[i].Shape = append([]int64{1}, t.Shape[1:]...)
			if t.DType == model.String {
				each := int64(len(t.Strings)) / n
				row[i].Strings = slices.Clone(t.Strings[r*each : (r+1)*each])
				continue
			}
			each := int64(len(t.Data)) / n
			row[i].Data = aligned(t.Data[r*each : (r+1)*each])
		}
		rows = append(rows, row)
	}
	return rows
}

// join makes one call of n rows, beginning again when there are fewer. A single
// call that is no row is itself.
func join(rows [][]model.Tensor, n int) []model.Tensor {
	if n == 1 {
		return rows[0]
	}
	out := slices.Clone(rows[0])
	for i := range out {
		out[i].Shape = append([]int64{int64(n)}, out[i].Shape[1:]...)
		out[i].Data, out[i].Strings = nil, nil
		for r := range n {
			t := rows[r%len(rows)][i]
			out[i].Data = append(out[i].Data, t.Data...)
			out[i].Strings = append(out[i].Strings, t.Strings...)
		}
		out[i].Data = aligned(out[i].Data)
	}
	return out
}

// vary tells rows apart that may be alike: it makes probeRows of them, in which
// floats are scaled. Other types keep their values, which may be indices.
func vary(rows [][]model.Tensor) [][]model.Tensor {
	if len(rows) == 0 {
		return nil
	}
	out := make([][]model.Tensor, probeRows)
	for r := range out {
		out[r] = clone(rows[r%len(rows)])
		scale := 1 + 0.25*float64(r)
		for i := range out[r] {
			switch t := &out[r][i]; t.DType { //nolint:exhaustive // the others stay as they are
			case model.Float32:
				for k, f := range model.View[float32](t) {
					model.View[float32](t)[k] = f * float32(scale)
				}
			case model.Float64:
				for k, f := range model.View[float64](t) {
					model.View[float64](t)[k] = f * scale
				}
			default:
			}
		}
	}
	return out
}

// synthetic makes up rows for a model without an example: small values, or
// zeros, which indices most likely allow.
func synthetic(specs []model.Spec, varied bool) [][]model.Tensor {
	rows := make([][]model.Tensor, probeRows)
	for r := range rows {
		for _, s := range specs {
			t := model.Tensor{Name: s.Name, DType: s.DType, Shape: slices.Clone(s.Shape)}
			if s.Shape == nil {
				t.Shape = []int64{1}
			}
			for i, d := range t.Shape {
				if d < 0 {
					t.Shape[i] = 1
				}
			}
			const most = 1 << 28
			n, err := model.Elements(t.Shape, most)
			if err != nil {
				return nil
			}
			fill(&t, int(n), r, varied)
			rows[r] = append(rows[r], t)
		}
	}
	return rows
}

// fill gives a tensor n elements.
func fill(t *model.Tensor, n, row int, varied bool) {
	if t.DType == model.String {
		t.Strings = make([]string, n)
		for i := range t.Strings {
			if varied {
				t.Strings[i] = strconv.Itoa((i + row) % probeRows)
			}
		}
		return
	}
	t.Data = aligned(make([]byte, n*t.DType.Size()))
	if !varied {
		return
	}
	at := func(i int) float64 { return math.Mod(float64(i+1)*0.37+float64(row)*0.61, 1) }
	switch t.DType { //nolint:exhaustive // the others are whole numbers
	case model.Float32:
		for i := range model.View[float32](t) {
			model.View[float32](t)[i] = float32(at(i))
		}
	case model.Float64:
		for i := range model.View[float64](t) {
			model.View[float64](t)[i] = at(i)
		}
	case model.Float16:
		const one, half = 0x3c00, 0x3800
		for i := range model.View[uint16](t) {
			model.View[uint16](t)[i] = []uint16{0, half, one}[(i+row)%3]
		}
	default: // 0 and 1, whose lowest byte is the first: machines that run this are little-endian
		for i := range n {
			t.Data[i*t.DType.Size()] = byte((i + row) % 2) //nolint:gosec // 0 or 1
		}
	}
}

// alike compares two answers: floats within what another order of summing
// makes of them, all else exactly.
func alike(a, b *model.Tensor) bool {
	if a.DType != b.DType || !slices.Equal(a.Shape, b.Shape) {
		return false
	}
	switch a.DType { //nolint:exhaustive // the others are exact
	case model.Float32:
		return near(model.View[float32](a), model.View[float32](b), 1e-4)
	case model.Float64:
		return near(model.View[float64](a), model.View[float64](b), 1e-8)
	case model.Float16:
		return slices.EqualFunc(model.View[uint16](a), model.View[uint16](b), func(x, y uint16) bool {
			// Neighbouring numbers have neighbouring bits.
			return max(x, y)-min(x, y) <= 4
		})
	default:
		return slices.Equal(a.Data, b.Data) && slices.Equal(a.Strings, b.Strings)
	}
}

func near[T float32 | float64](a, b []T, tolerance float64) bool {
	return slices.EqualFunc(a, b, func(x, y T) bool {
		p, q := float64(x), float64(y)
		return p == q || p != p && q != q || math.Abs(p-q) <= tolerance*max(1e-3, math.Abs(p))
	})
}
