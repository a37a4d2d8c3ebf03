package onnxtest

import (
	"math"
	"math/rand/v2"
	"strconv"
)

// Identity gives back what it gets, X → Y, of any type and shape.
func Identity(elem int64, dims ...int64) []byte {
	if dims == nil {
		dims = []int64{}
	}
	return Graph{
		Inputs:  []Value{{Name: "X", Elem: elem, Dims: dims}},
		Outputs: []Value{{Name: "Y", Elem: elem, Dims: dims}},
		Nodes:   []Node{{Op: "Identity", In: []string{"X"}, Out: []string{"Y"}}},
	}.Bytes()
}

// Version answers X[N,4] with Y[N,2]: the row's sum, and k. The answer tells
// which version made it.
func Version(k int) []byte {
	return Graph{
		Inputs:  []Value{{Name: "X", Elem: Float, Dims: []int64{-1, 4}}},
		Outputs: []Value{{Name: "Y", Elem: Float, Dims: []int64{-1, 2}}},
		Tensors: []Tensor{
			{Name: "W", Dims: []int64{4, 2}, Floats: []float32{1, 0, 1, 0, 1, 0, 1, 0}},
			{Name: "B", Dims: []int64{2}, Floats: []float32{0, float32(k)}},
		},
		Nodes: []Node{{Op: "Gemm", In: []string{"X", "W", "B"}, Out: []string{"Y"}}},
	}.Bytes()
}

// MLP is X[N,32] → 256 → 256 → Y[N,1] with seeded weights.
func MLP(seed uint64) []byte {
	r := rand.New(rand.NewPCG(seed, 1)) //nolint:gosec // test weights
	return Graph{
		Inputs:  []Value{{Name: "X", Elem: Float, Dims: []int64{-1, 32}}},
		Outputs: []Value{{Name: "Y", Elem: Float, Dims: []int64{-1, 1}}},
		Tensors: []Tensor{
			weights(r, "W1", 32, 256), weights(r, "B1", 256),
			weights(r, "W2", 256, 256), weights(r, "B2", 256),
			weights(r, "W3", 256, 1), weights(r, "B3", 1),
		},
		Nodes: []Node{
			{Op: "Gemm", In: []string{"X", "W1", "B1"}, Out: []string{"h1"}},
			{Op: "Relu", In: []string{"h1"}, Out: []string{"r1"}},
			{Op: "Gemm", In: []string{"r1", "W2", "B2"}, Out: []string{"h2"}},
			{Op: "Relu", In: []string{"h2"}, Out: []string{"r2"}},
			{Op: "Gemm", In: []string{"r2", "W3", "B3"}, Out: []string{"Y"}},
		},
	}.Bytes()
}

// GRU is X[N,24,8] → hidden 64 → Y[N,12] with seeded weights.
func GRU(seed uint64) []byte {
	r := rand.New(rand.NewPCG(seed, 2)) //nolint:gosec // test weights
	return Graph{
		Inputs:  []Value{{Name: "X", Elem: Float, Dims: []int64{-1, 24, 8}}},
		Outputs: []Value{{Name: "Y", Elem: Float, Dims: []int64{-1, 12}}},
		Tensors: []Tensor{
			weights(r, "W", 1, 192, 8), weights(r, "R", 1, 192, 64), weights(r, "B", 1, 384),
			weights(r, "W2", 64, 12), weights(r, "B2", 12),
			{Name: "axis", Dims: []int64{1}, Ints: []int64{0}},
		},
		Nodes: []Node{
			{Op: "Transpose", In: []string{"X"}, Out: []string{"xt"}, Attrs: []Attr{{"perm", []int64{1, 0, 2}}}},
			{Op: "GRU", In: []string{"xt", "W", "R", "B"}, Out: []string{"all", "last"}, Attrs: []Attr{{"hidden_size", 64}, {"linear_before_reset", 1}}},
			{Op: "Squeeze", In: []string{"last", "axis"}, Out: []string{"h"}},
			{Op: "Gemm", In: []string{"h", "W2", "B2"}, Out: []string{"Y"}},
		},
	}.Bytes()
}

func weights(r *rand.Rand, name string, dims ...int64) Tensor {
	n := int64(1)
	for _, d := range dims {
		n *= d
	}
	scale := 1 / math.Sqrt(float64(dims[len(dims)-1]))
	t := Tensor{Name: name, Dims: dims, Floats: make([]float32, n)}
	for i := range t.Floats {
		t.Floats[i] = float32(r.NormFloat64() * scale)
	}
	return t
}

// Neighbours answers X[N,4] with a softmax over the rows: a row's answer
// depends on the others, so that the model must not be batched.
func Neighbours() []byte {
	return Graph{
		Inputs:  []Value{{Name: "X", Elem: Float, Dims: []int64{-1, 4}}},
		Outputs: []Value{{Name: "Y", Elem: Float, Dims: []int64{-1, 4}}},
		Nodes:   []Node{{Op: "Softmax", In: []string{"X"}, Out: []string{"Y"}, Attrs: []Attr{{"axis", 0}}}},
	}.Bytes()
}

// Total answers X[N,4] with Y[1,4], the sum of the rows.
func Total() []byte {
	return Graph{
		Inputs:  []Value{{Name: "X", Elem: Float, Dims: []int64{-1, 4}}},
		Outputs: []Value{{Name: "Y", Elem: Float, Dims: []int64{1, 4}}},
		Tensors: []Tensor{{Name: "axes", Dims: []int64{1}, Ints: []int64{0}}},
		Nodes:   []Node{{Op: "ReduceSum", In: []string{"X", "axes"}, Out: []string{"Y"}, Attrs: []Attr{{"keepdims", 1}}}},
	}.Bytes()
}

// PickySize is how many values [Picky] knows.
const PickySize = 100

// Picky answers X[N,1] with Y[N,1], twice the value, looked up in a table of
// [PickySize] entries: one row with a value of 100 or more makes the whole
// call fail.
func Picky() []byte {
	table := make([]float32, PickySize)
	for i := range table {
		table[i] = float32(2 * i)
	}
	return Graph{
		Inputs:  []Value{{Name: "X", Elem: Float, Dims: []int64{-1, 1}}},
		Outputs: []Value{{Name: "Y", Elem: Float, Dims: []int64{-1, 1}}},
		Tensors: []Tensor{{Name: "table", Dims: []int64{PickySize}, Floats: table}},
		Nodes: []Node{
			{Op: "Cast", In: []string{"X"}, Out: []string{"i"}, Attrs: []Attr{{"to", Int64}}},
			{Op: "Gather", In: []string{"table", "i"}, Out: []string{"Y"}},
		},
	}.Bytes()
}

// Brittle answers as [Version] does, but a call with a row whose first value is
// [PickySize] or more fails.
func Brittle(k int) []byte {
	return Graph{
		Inputs:  []Value{{Name: "X", Elem: Float, Dims: []int64{-1, 4}}},
		Outputs: []Value{{Name: "Y", Elem: Float, Dims: []int64{-1, 2}}},
		Tensors: []Tensor{
			{Name: "W", Dims: []int64{4, 2}, Floats: []float32{1, 0, 1, 0, 1, 0, 1, 0}},
			{Name: "B", Dims: []int64{2}, Floats: []float32{0, float32(k)}},
			{Name: "zeros", Dims: []int64{PickySize, 2}, Floats: make([]float32, 2*PickySize)},
			{Name: "first", Dims: []int64{}, Ints: []int64{0}},
		},
		Nodes: []Node{
			{Op: "Gemm", In: []string{"X", "W", "B"}, Out: []string{"sum"}},
			{Op: "Gather", In: []string{"X", "first"}, Out: []string{"begins"}, Attrs: []Attr{{"axis", 1}}},
			{Op: "Cast", In: []string{"begins"}, Out: []string{"i"}, Attrs: []Attr{{"to", Int64}}},
			{Op: "Gather", In: []string{"zeros", "i"}, Out: []string{"nothing"}},
			{Op: "Add", In: []string{"sum", "nothing"}, Out: []string{"Y"}},
		},
	}.Bytes()
}

// Slow answers X[N,1] with Y[N,1] = X after iterations of work on a large
// matrix, to be cancelled in a test.
func Slow(iterations int64) []byte {
	const side = 256
	m := Tensor{Name: "M", Dims: []int64{side, side}, Floats: make([]float32, side*side)}
	g := Graph{
		Inputs:  []Value{{Name: "X", Elem: Float, Dims: []int64{-1, 1}}},
		Outputs: []Value{{Name: "Y", Elem: Float, Dims: []int64{-1, 1}}},
		Tensors: []Tensor{m, {Name: "ones", Dims: []int64{1, side}, Floats: make([]float32, side)}, {Name: "axes", Dims: []int64{1}, Ints: []int64{1}}},
	}
	// Each product depends on X, so that the optimizer cannot do it beforehand.
	g.Nodes = append(g.Nodes, Node{Op: "Mul", In: []string{"X", "ones"}, Out: []string{"p0"}})
	last := "p0"
	for i := range iterations {
		next := "m" + strconv.FormatInt(i, 10)
		g.Nodes = append(g.Nodes, Node{Op: "MatMul", In: []string{last, "M"}, Out: []string{next}})
		last = next
	}
	g.Nodes = append(g.Nodes,
		Node{Op: "ReduceSum", In: []string{last, "axes"}, Out: []string{"zero"}, Attrs: []Attr{{"keepdims", 1}}},
		Node{Op: "Add", In: []string{"X", "zero"}, Out: []string{"Y"}})
	return g.Bytes()
}

// StuckOn is the last value of a row that [Stuck] never answers.
const StuckOn = 7

// Stuck answers as [Version] does, but a call with a row that ends in [StuckOn]
// runs for days: such a model passes its warm-up, serves, and hangs.
func Stuck(k int) []byte {
	scalar := []int64{}
	body := Graph{
		Inputs:  []Value{{Name: "turn", Elem: Int64, Dims: scalar}, {Name: "go", Elem: Bool, Dims: scalar}, {Name: "y0", Elem: Float, Dims: []int64{-1, 2}}},
		Outputs: []Value{{Name: "on", Elem: Bool, Dims: scalar}, {Name: "y1", Elem: Float, Dims: []int64{-1, 2}}},
		Nodes: []Node{
			{Op: "Identity", In: []string{"go"}, Out: []string{"on"}},
			{Op: "Abs", In: []string{"y0"}, Out: []string{"y"}},
			{Op: "Neg", In: []string{"y"}, Out: []string{"y1"}},
		},
	}
	return Graph{
		Inputs:  []Value{{Name: "X", Elem: Float, Dims: []int64{-1, 4}}},
		Outputs: []Value{{Name: "Y", Elem: Float, Dims: []int64{-1, 2}}},
		Tensors: []Tensor{
			{Name: "W", Dims: []int64{4, 2}, Floats: []float32{1, 0, 1, 0, 1, 0, 1, 0}},
			{Name: "B", Dims: []int64{2}, Floats: []float32{0, float32(k)}},
			{Name: "last", Dims: scalar, Ints: []int64{3}},
			{Name: "stuck", Dims: scalar, Floats: []float32{StuckOn}},
			{Name: "days", Dims: scalar, Ints: []int64{1e12}},
		},
		Nodes: []Node{
			{Op: "Gemm", In: []string{"X", "W", "B"}, Out: []string{"sum"}},
			{Op: "Gather", In: []string{"X", "last"}, Out: []string{"ends"}, Attrs: []Attr{{"axis", 1}}},
			{Op: "Equal", In: []string{"ends", "stuck"}, Out: []string{"is"}},
			{Op: "Cast", In: []string{"is"}, Out: []string{"ones"}, Attrs: []Attr{{"to", Int64}}},
			{Op: "ReduceSum", In: []string{"ones"}, Out: []string{"count"}, Attrs: []Attr{{"keepdims", 0}}},
			{Op: "Mul", In: []string{"count", "days"}, Out: []string{"turns"}},
			{Op: "Loop", In: []string{"turns", "", "sum"}, Out: []string{"Y"}, Attrs: []Attr{{"body", body}}},
		},
	}.Bytes()
}

// Multi has two inputs and two outputs: A[N,2] float and B[N] int64 give
// Sum[N] float, the row's sum of A plus B, and Twice[N] int64, 2 B.
func Multi() []byte {
	return Graph{
		Inputs:  []Value{{Name: "A", Elem: Float, Dims: []int64{-1, 2}}, {Name: "B", Elem: Int64, Dims: []int64{-1}}},
		Outputs: []Value{{Name: "Sum", Elem: Float, Dims: []int64{-1}}, {Name: "Twice", Elem: Int64, Dims: []int64{-1}}},
		Tensors: []Tensor{{Name: "axes", Dims: []int64{1}, Ints: []int64{1}}},
		Nodes: []Node{
			{Op: "Add", In: []string{"B", "B"}, Out: []string{"Twice"}},
			{Op: "Cast", In: []string{"B"}, Out: []string{"f"}, Attrs: []Attr{{"to", Float}}},
			{Op: "ReduceSum", In: []string{"A", "axes"}, Out: []string{"s"}, Attrs: []Attr{{"keepdims", 0}}},
			{Op: "Add", In: []string{"s", "f"}, Out: []string{"Sum"}},
		},
	}.Bytes()
}

// Classifier is scikit-learn's shape of one: X[N,2] gives label[N] and
// probabilities, a map a row that a ZipMap makes. The classes are the numbers
// 3 and 7, or "cat" and "dog".
func Classifier(strings bool) []byte {
	elem, key, classes := int64(Int64), "classlabels_int64s", any([]int64{3, 7})
	labels := "classlabels_ints"
	if strings {
		elem, key, classes = String, "classlabels_strings", []string{"cat", "dog"}
		labels = key
	}
	return Graph{
		Inputs:  []Value{{Name: "X", Elem: Float, Dims: []int64{-1, 2}}},
		Outputs: []Value{{Name: "label", Elem: elem, Dims: []int64{-1}}, {Name: "probabilities", Elem: elem, Kind: "sequence of maps"}},
		Nodes: []Node{
			{
				Op: "LinearClassifier", Domain: "ai.onnx.ml", In: []string{"X"}, Out: []string{"label", "scores"},
				Attrs: []Attr{{"coefficients", []float32{1, 0, 0, 1}}, {"intercepts", []float32{0, 0}}, {labels, classes}, {"post_transform", "SOFTMAX"}},
			},
			{Op: "ZipMap", Domain: "ai.onnx.ml", In: []string{"scores"}, Out: []string{"probabilities"}, Attrs: []Attr{{key, classes}}},
		},
	}.Bytes()
}

// External answers X[N,4] with Y[N,4] = X + 1, the ones lying in the file that
// location names: 16 bytes at offset 0.
func External(location string) (model, data []byte) {
	return Graph{
		Inputs:  []Value{{Name: "X", Elem: Float, Dims: []int64{-1, 4}}},
		Outputs: []Value{{Name: "Y", Elem: Float, Dims: []int64{-1, 4}}},
		Tensors: []Tensor{{Name: "B", Dims: []int64{4}, External: map[string]string{"location": location, "offset": "0", "length": "16"}}},
		Nodes:   []Node{{Op: "Add", In: []string{"X", "B"}, Out: []string{"Y"}}},
	}.Bytes(), floatBytes([]float32{1, 1, 1, 1})
}
