package remote

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/millrace/millrace/model"
)

// Each type goes there and back in both forms.
func TestTypes(t *testing.T) {
	tensors := []model.Tensor{
		{DType: model.Bool, Data: []byte{1, 0, 1}},
		{DType: model.Int8, Data: model.BytesOf([]int8{-128, 0, 127})},
		{DType: model.Int16, Data: model.BytesOf([]int16{-32768, 0, 32767})},
		{DType: model.Int32, Data: model.BytesOf([]int32{math.MinInt32, 0, math.MaxInt32})},
		{DType: model.Int64, Data: model.BytesOf([]int64{math.MinInt64, 0, math.MaxInt64})},
		{DType: model.Uint8, Data: []byte{0, 1, 255}},
		{DType: model.Uint16, Data: model.BytesOf([]uint16{0, 1, math.MaxUint16})},
		{DType: model.Uint32, Data: model.BytesOf([]uint32{0, 1, math.MaxUint32})},
		{DType: model.Uint64, Data: model.BytesOf([]uint64{0, 1, math.MaxUint64})},
		{DType: model.Float16, Data: model.BytesOf([]uint16{model.HalfBits(0.1), model.HalfBits(-65504), 1})},
		{DType: model.Float32, Data: model.BytesOf([]float32{0.1, -math.MaxFloat32, math.SmallestNonzeroFloat32})},
		{DType: model.Float64, Data: model.BytesOf([]float64{0.1, -math.MaxFloat64, math.SmallestNonzeroFloat64})},
		{DType: model.String, Strings: []string{"", "a \"b\"\n", "日本 \U0001f600"}},
	}
	var in []model.Tensor
	var specs []model.Spec
	for _, shape := range [][]int64{{3}, {1, 3}, {3, 1}} {
		for _, x := range tensors {
			x.Name, x.Shape = fmt.Sprintf("%s %v", x.DType, shape), shape
			in, specs = append(in, x), append(specs, model.Spec{Name: x.Name, DType: x.DType, Shape: shape})
		}
	}
	body, header, err := binaryRequest(in)
	require.NoError(t, err)
	back := answer{header: header, body: []byte(strings.Replace(string(body), `{"inputs":`, `{"outputs":`, 1))}
	head := len(body) - len(back.body)
	require.Equal(t, -1, head) // outputs is a letter longer
	n, err := json.Number(header.Get(headerLength)).Int64()
	require.NoError(t, err)
	back.header.Set(headerLength, strconv.FormatInt(n+1, 10))
	out, _, err := readAnswer(specs, &back)
	require.NoError(t, err)
	require.Equal(t, in, out)

	body, header, err = jsonRequest(in)
	require.NoError(t, err)
	out, _, err = readAnswer(specs, &answer{header: header, body: []byte(strings.Replace(string(body), `{"inputs":`, `{"outputs":`, 1))})
	require.NoError(t, err)
	require.Equal(t, in, out)
}

func TestJSONHasNotAll(t *testing.T) {
	for _, f := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
		_, _, err := jsonRequest([]model.Tensor{{Name: "X", DType: model.Float64, Shape: []int64{1}, Data: model.BytesOf([]float64{f})}})
		require.Equal(t, model.InvalidInput, codeOf(t, err))
	}
	_, _, err := jsonRequest([]model.Tensor{{Name: "X", DType: model.String, Shape: []int64{2}, Strings: []string{"é", "\xff"}}})
	require.Equal(t, model.InvalidInput, codeOf(t, err))
	require.ErrorContains(t, err, "string 1 is not UTF-8", "it is not sent as another text")
}
